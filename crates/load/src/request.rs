//! The envelope of a JSON-RPC 2.0 request.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::json::Token;
use crate::text::Text;
use crate::value::Value;

/// The id of answers to what has none that could be understood.
pub const NO_ID: &[u8] = b"null";

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'r> {
    /// The name of the method.
    pub method: Text<'r>,
    /// The parameters, an array or object, if there are any.
    pub parameters: Option<Value<'r>>,
    /// The id, as it is written: a text, number or null. None for a notification, which is not answered.
    pub id: Option<&'r [u8]>,
}

/// A value that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid<'r> {
    /// What the answer has for an id.
    pub id: &'r [u8],
    /// Why it is none.
    pub why: &'static str,
}

impl<'r> Request<'r> {
    /// Reads one; of a member that comes twice the last counts, and others than those of a request do not.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(value: Value<'r>) -> Result<Request<'r>, Invalid<'r>> {
        let invalid = |why| Invalid { id: NO_ID, why };
        if value.first() != Token::BeginObject {
            return Err(invalid("it is not an object"));
        }
        let (mut version, mut method, mut parameters, mut id) = (None, None, None, None);
        for (name, value) in value.members() {
            for (known, place) in [
                ("jsonrpc", &mut version),
                ("method", &mut method),
                ("params", &mut parameters),
                ("id", &mut id),
            ] {
                if name.is(known) {
                    *place = Some(value);
                }
            }
        }
        let id = match id {
            None => None,
            Some(value) => match value.first() {
                Token::Text(_) | Token::Number(_) | Token::Null => Some(value.json()),
                _ => return Err(invalid("id is neither a text nor a number nor null")),
            },
        };
        let invalid = |why| Invalid { id: id.unwrap_or(NO_ID), why };
        match version.map(Value::first) {
            Some(Token::Text(version)) if version.is("2.0") => {}
            _ => return Err(invalid("jsonrpc is not \"2.0\"")),
        }
        let Some(Token::Text(method)) = method.map(Value::first) else {
            return Err(invalid("method is not a text"));
        };
        if let Some(Token::BeginArray | Token::BeginObject) | None = parameters.map(Value::first) {
            Ok(Request { method, parameters, id })
        } else {
            Err(invalid("params is neither an array nor an object"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Request<'_>, (&str, &'static str)> {
        Request::read(Value::parse(json.as_bytes()).expect("right"))
            .map_err(|invalid| (core::str::from_utf8(invalid.id).expect("right"), invalid.why))
    }

    #[test]
    fn ids_are_kept_as_they_are_written() {
        for id in ["1", "1.50e0", "\"a\\u0041\"", "null"] {
            let text = format!("{{\"id\": {id} ,\"method\":\"m\",\"jsonrpc\":\"2.0\"}}");
            assert_eq!(read(&text).map(|request| request.id), Ok(Some(id.as_bytes())));
        }
        assert_eq!(read("{\"method\":\"m\",\"jsonrpc\":\"2.0\"}").map(|request| request.id), Ok(None));
    }

    #[test]
    fn what_is_no_request_is_told_with_its_id_where_it_has_one() {
        for (text, id) in [
            ("1", "null"),
            ("[]", "null"),
            ("{}", "null"),
            ("{\"id\":1}", "1"),
            ("{\"id\":1,\"jsonrpc\":\"1.0\",\"method\":\"m\"}", "1"),
            ("{\"id\":1,\"jsonrpc\":2.0,\"method\":\"m\"}", "1"),
            ("{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":1}", "1"),
            ("{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":1}", "1"),
            ("{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":null}", "1"),
            ("{\"id\":{},\"jsonrpc\":\"2.0\",\"method\":\"m\"}", "null"),
        ] {
            assert_eq!(read(text).map_err(|(id, _)| id), Err(id), "{text}");
        }
    }
}
