use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use watershed_state::encode;

use super::*;

fn ask(text: &str) -> (Query, Receiver<Result<Reading, QueryError>>) {
    let (sender, answer) = channel();
    (Query::new(QueryKey::Json(text.to_string()), move |said| sender.send(said).unwrap()), answer)
}

#[test]
fn a_key_is_given_by_its_json_and_a_text_without_quotes_too() {
    let text = |json: &str| QueryKey::Json(json.to_string()).parse::<String>().unwrap();
    assert_eq!([text("be"), text("\"be\""), text("7"), text("null")], ["be", "be", "7", "null"]);
    assert_eq!(QueryKey::Json("7".to_string()).parse::<u64>(), Ok(7));
    assert_eq!(QueryKey::Json("[1,\"a\"]".to_string()).parse::<(u8, String)>(), Ok((1, "a".to_string())));
    let wrong = QueryKey::Json("be".to_string()).parse::<u64>().unwrap_err().to_string();
    assert!(wrong.contains("of type `u64`") && wrong.contains("the JSON `be`"), "{wrong}");
}

fn encoded<K: Key>(key: &K) -> QueryKey {
    let mut bytes = Vec::new();
    encode(key, &mut bytes).unwrap();
    QueryKey::Encoded { bytes, hash: hash_key(key), type_name: type_name::<K>() }
}

#[test]
fn an_encoded_key_of_another_type_is_refused_also_if_it_decodes() {
    assert_eq!(encoded(&7_u64).parse::<u64>(), Ok(7));
    // The same number, in a type that hashes differently.
    let wrong = encoded(&(1_u8, 2_u8)).parse::<Vec<u8>>().unwrap_err().to_string();
    assert!(wrong.contains("Vec<u8>") && wrong.contains("a `(u8, u8)`"), "{wrong}");
    assert!(encoded(&"a".to_string()).parse::<u64>().is_err());
}

#[test]
fn a_question_that_nobody_answers_is_answered_all_the_same() {
    let (query, answer) = ask("1");
    drop(query);
    assert_eq!(answer.recv().unwrap(), Err(QueryError::Gone));
}

#[test]
fn only_so_many_wait_and_none_for_one_that_is_gone() {
    let queries = Arc::new(Queries::default());
    let asked: Vec<_> = (0..=WAITING_MAX)
        .map(|_| {
            let (query, answer) = ask("1");
            queries.ask(query);
            answer
        })
        .collect();
    assert_eq!(asked[WAITING_MAX].recv().unwrap(), Err(QueryError::Busy));
    assert!(asked[0].try_recv().is_err());
    let first = queries.take().pop_front().unwrap();
    assert!(!queries.any());
    first.answer(Ok(Reading::Nothing));
    assert_eq!(asked[0].recv().unwrap(), Ok(Reading::Nothing));
    assert_eq!(asked[1].recv().unwrap(), Err(QueryError::Gone), "it was taken and dropped");
    queries.close();
    let (query, answer) = ask("1");
    queries.ask(query);
    assert_eq!(answer.recv().unwrap(), Err(QueryError::Gone));
}
