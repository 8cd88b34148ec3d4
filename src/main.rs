fn main() {
    claviger::cli::main()
}
