//! Chains of roles: what is asked for on the way is kept like anything else.

use super::*;

/// A27
#[tokio::test]
async fn chains_share_what_they_begin_with_and_end_with_their_last_holder() {
    let bench = Bench::new();
    let (first, one, other) = (grant("corp", "alice"), holder(true, DAY), holder(true, DAY));
    let after = |before: &Arc<Grant>, role: &str| {
        let role = format!("arn:aws:iam::123456789012:role/{role}").parse().unwrap();
        Arc::new(Grant { role, after: Some(Arc::clone(before)), ..(**before).clone() })
    };
    let hub = after(&first, "hub");
    let (red, blue) = (after(&hub, "red"), after(&hub, "blue"));
    assert_eq!(bench.key(&red, &one).await, "corp|alice|1 > hub|2 > red|3");
    assert_eq!(bench.key(&blue, &other).await, "corp|alice|1 > hub|2 > blue|4");
    assert_eq!(bench.key(&first, &one).await, "corp|alice|1");
    // the same role by another way is not the same
    assert_eq!(bench.key(&after(&first, "red"), &one).await, "corp|alice|1 > red|5");
    bench.broker.release(&one.id);
    assert_eq!(bench.key(&blue, &other).await, "corp|alice|1 > hub|2 > blue|4");
    bench.broker.release(&other.id);
    let newcomer = holder(true, DAY);
    assert_eq!(bench.key(&blue, &newcomer).await, "corp|alice|6 > hub|7 > blue|8");
}

#[tokio::test]
async fn a_chain_is_refused_by_the_link_that_refuses() {
    let bench = Bench::new();
    let (first, holder) = (grant("corp", "alice"), holder(true, DAY));
    let role = "arn:aws:iam::123456789012:role/far".parse().unwrap();
    let far = Arc::new(Grant { role, after: Some(Arc::clone(&first)), ..(*first).clone() });
    bench.is(Mood::Refusing);
    let refused = bench.ask(&far, &holder).await.unwrap_err();
    assert!(matches!(&*refused, IssueError::Refused { role, .. } if *role == first.role.to_string()), "{refused:?}");
    assert_eq!(bench.calls(), 1);
}
