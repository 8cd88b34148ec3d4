//! What the demo tells whoever started it.

use super::Site;

impl Site {
    /// What to do now.
    pub(super) fn tell(&self) {
        let build = if cfg!(feature = "saml") { "@saml" } else { "@plain" };
        // a line of the other build begins with its mark still
        let lines = TOLD.lines().map(|line| line.strip_prefix(build).unwrap_or(line));
        let lines = lines.filter(|line| !line.starts_with("@saml") && !line.starts_with("@plain"));
        let mut told: String = lines.map(|line| format!("{line}\n")).collect();
        let places = [
            ("@url@", &self.url),
            ("@provider@", &self.provider),
            ("@authority@", &self.authority),
            ("@app@", &self.app),
        ];
        for (name, place) in places {
            told = told.replace(name, place.as_str());
        }
        println!("{told}");
    }
}

const TOLD: &str = include_str!("told.txt");
