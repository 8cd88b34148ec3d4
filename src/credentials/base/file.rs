//! A token in a file that others write anew from time to time, as the kubelet does.

use crate::secret::Secret;
use crate::web::BoxError;

/// The text of the file, off the async threads; one trailing line end is dropped.
pub(super) async fn secret(path: &str) -> Result<Secret, BoxError> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        std::fs::read_to_string(&path).map_err(|e| format!("the token file `{path}` can't be read: {e}"))
    });
    let text = zeroize::Zeroizing::new(read.await??);
    let text = text.strip_suffix('\n').map_or(&**text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err("the token file is empty".into()) } else { Ok(Secret::new(text)) }
}
