//! What is shown, and what is not.

use super::*;

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect(1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_reason_is_not_shown() {
    let refused = LoginError::Refused("the nonce is not ours".into());
    let response = Fault::Login(refused).answer("r-1", Reader::Person(None));
    assert_eq!(response.status(), 400);
    let page = text(response).await;
    assert!(!page.contains("nonce") && page.contains("r-1"), "{page}");
}

#[tokio::test]
async fn hostile_text_is_escaped() {
    let page = text(Fault::Malformed("<script>alert(1)</script>".into()).answer("<r>", Reader::Person(None))).await;
    assert!(!page.contains("<script>") && !page.contains("<r>"), "{page}");
}

#[tokio::test]
async fn who_is_turned_away_reads_who_they_are() {
    let denied = Fault::Issue(Arc::new(IssueError::Refused {
        role: "r".into(),
        code: "AccessDenied".into(),
        source: "told".into(),
    }));
    assert!(denied.depends_on_the_account() && !Fault::NoRoute.depends_on_the_account());
    let who = LoggedIn { name: "Al <b>".into(), source: "Corp".into() };
    let page = text(denied.answer("r-1", Reader::Person(Some(&who)))).await;
    assert!(page.contains("Al &#60;b&#62;</strong> with Corp") && page.contains("/.claviger/logout"), "{page}");
    // a certificate can't be logged out
    assert!(!text(denied.answer("r-1", Reader::Person(None))).await.contains("/.claviger/logout"));
}

#[tokio::test]
async fn programs_get_json_and_a_challenge() {
    let response = Fault::Anonymous.answer("r-2", Reader::Program);
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&body["error"], &body["request_id"]), (&json!("login_required"), &json!("r-2")));
}

#[tokio::test]
async fn too_many_come_back_no_earlier_than_it_helps_and_are_told_when() {
    for (millis, seconds, words) in [
        (0, "1", "in a second."),
        (1_000, "1", "in a second."),
        (1_001, "2", "in 2 seconds."),
        (59_500, "60", "in 60 seconds."),
        (119_001, "120", "in 2 minutes."),
        (3_600_000, "3600", "in 60 minutes."),
        (9_000_000, "9000", "in 3 hours."),
    ] {
        let error = TooMany { limit: "per_address", retry_after: Duration::from_millis(millis) };
        let response = Fault::TooMany(error).answer("r-4", Reader::Program);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{millis}");
        let page = text(Fault::TooMany(error).answer("r-4", Reader::Person(None))).await;
        assert!(page.contains(words), "{page}");
    }
}

#[test]
fn unavailable_says_when_to_come_back() {
    let error = IssueError::Unavailable { retry_after: None, source: "down".into() };
    let response = Fault::Issue(Arc::new(error)).answer("r-3", Reader::Program);
    assert_eq!((response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER)), (503, true));
}
