//! The control socket as any client may use or abuse it: what comes is answered by the protocol's rules, and the target lives.

use std::thread;

use memtrial_tests::harness::control_socket::{Connection, error};
use memtrial_tests::harness::daemon::{Daemon, answer};
use memtrial_tests::harness::processes::wait_for;
use memtrial_tests::harness::stress::{Small, private};
use memtrial_tests::harness::workshop::Workshop;
use serde_json::{Value, json};

/// A daemon with the agent in it.
struct Open {
    small: Small,
    daemon: Daemon,
    _workshop: Workshop,
}

impl Open {
    fn start(options: &str) -> Open {
        let workshop = Workshop::new();
        let small = Small::new(&workshop, "busy", false, "1 1000");
        let daemon = small.daemon();
        let _ = small.stress.print(daemon.pid(), &format!("{options} mt.mem_used"));
        Open { small, daemon, _workshop: workshop }
    }

    #[track_caller]
    fn connect(&self) -> Connection {
        Connection::to(&self.small.stress.socket(self.daemon.pid()))
    }

    /// The answer to these bytes on a connection of their own.
    #[track_caller]
    fn answer_to(&self, request: impl AsRef<[u8]>) -> Value {
        let mut control = self.connect();
        control.send(request);
        control.answer().expect("there is an answer")
    }

    /// The daemon answers, and so does the agent.
    #[track_caller]
    fn lives(&mut self) {
        assert!(self.daemon.is_alive(), "{}", self.daemon.said());
        let _ = answer(&self.small.stress.bench.folder(), &self.small.request("alive"));
        self.connect().call("mt.mem_used", json!([]));
    }
}

fn request(id: u64, method: &str, parameters: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }).to_string()
}

#[test]
fn what_is_wrong_gets_the_error_of_the_protocol() {
    let mut open = Open::start("");
    let mut control = open.connect();
    let wrong = [
        ("mt.mem_alloc", json!([])),
        ("mt.mem_alloc", json!(["ten"])),
        ("mt.mem_alloc", json!([-1])),
        ("mt.mem_alloc", json!([1.5])),
        ("mt.mem_alloc", json!([10, "x"])),
        ("mt.mem_alloc", json!([10, "k", 1])),
        ("mt.mem_alloc", json!({ "bytes": 10 })),
        ("mt.mem_alloc", json!({ "size": 10, "other": 1 })),
        ("mt.mem_rnd_alloc", json!([64, 10, 1000])),
        ("mt.mem_rnd_alloc", json!([10, 64, 32])),
        ("mt.mem_test_start", json!([16, 64, 1000, 0, 10, 1000])),
        ("mt.mem_test_start", json!([16, 64, 1000, 20, 10, 1000])),
        ("mt.mem_test_start", json!([16, 64, 1000, 10, 2000, 1000])),
        ("mt.mem_test_start", json!([16, 64, 1000, "1 fortnight", 10, 1000])),
        ("mt.mem_test_stop", json!(["all"])),
        ("cfg.set_now_int", json!(["malloc_test", "realloc_p", 91])),
        ("cfg.set_now_int", json!(["malloc_test", "check_content", 2])),
        ("cfg.set_now_int", json!(["malloc_test", "nothing", 1])),
        ("cfg.get", json!(["other", "check_content"])),
    ];
    for (method, parameters) in wrong {
        let (code, message) = control.ask(method, parameters.clone()).unwrap_err();
        assert_eq!(code, -32602, "{method} {parameters}: {message}");
        assert!(message.contains(method), "the usage is named: {message}");
    }
    for method in ["mt.mem_allocate", "", "rpc.discover", "MT.MEM_ALLOC"] {
        assert_eq!(control.ask(method, json!([])).unwrap_err().0, -32601, "{method}");
    }
    assert_eq!(control.ask("mt.mem_test_stop", json!([1])).unwrap_err().0, -32003);
    for (code, text) in [
        (-32600, r#"{"jsonrpc":"2.0","id":1}"#),
        (-32600, r#"{"jsonrpc":"1.0","id":1,"method":"mt.mem_used"}"#),
        (-32600, r#"{"jsonrpc":"2.0","id":{},"method":"mt.mem_used"}"#),
        (-32600, r#"{"jsonrpc":"2.0","id":1,"method":7}"#),
        (-32600, "[]"),
        (-32700, "{\"jsonrpc\":\"2.0\",\"id\":1,}\n"),
        (-32700, "no JSON at all\n"),
        (-32700, "\u{0}\u{1}\n"),
        (-32700, "{\"a\":\"\\uZZZZ\"}\n"),
    ] {
        let answer = open.answer_to(format!("{text}\n"));
        assert_eq!(error(&answer).0, code, "{text}: {answer}");
    }
    // As deep as a request can be.
    let deep = format!("{}{}\n", "[".repeat(30_000), "]".repeat(30_000));
    let code = error(&open.answer_to(&deep)).0;
    assert!([-32700, -32600].contains(&code), "{code}");
    open.lives();
}

#[test]
fn a_request_that_is_too_long_ends_the_connection() {
    let mut open = Open::start("");
    let mut control = open.connect();
    let filler = "x".repeat(63 * 1024);
    let (code, _) = control.ask("mt.mem_alloc", json!([filler])).unwrap_err();
    assert_eq!(code, -32602, "what is long is read");
    let long = request(1, "mt.mem_alloc", &json!(["x".repeat(70_000)]));
    control.send(&long);
    assert_eq!(control.answer().map(|answer| error(&answer).0), Some(-32600));
    assert_eq!(control.answer(), None);
    let mut endless = open.connect();
    for _ in 0..100 {
        endless.send(" \n".repeat(1000) + &"[".repeat(1000));
    }
    let mut framed = open.connect();
    framed.send("Content-Length: 18446744073709551615\r\n\r\n{}");
    assert_eq!(error(&framed.framed()).0, -32600);
    open.lives();
}

#[test]
fn requests_may_come_in_any_pieces() {
    let mut open = Open::start("");
    let mut control = open.connect();
    for byte in request(1, "mt.mem_alloc", &json!([10, "k"])).bytes() {
        control.send([byte]);
    }
    control.send(request(2, "mt.mem_used", &json!({ "unit": "k" })) + &request(3, "mt.mem_free", &json!([])));
    control.send("\r\n\n  ");
    control.send(request(4, "mt.mem_used", &json!([])));
    let answers: Vec<Value> = (0..4).map(|_| control.answer().expect("there is an answer")).collect();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!([&answers[1]["result"]["bytes"], &answers[3]["result"]["bytes"]], [10, 0], "{answers:?}");
    open.lives();
}

#[test]
fn batches_notifications_and_ids_are_as_the_specification_says() {
    let mut open = Open::start("");
    let mut control = open.connect();
    // No answer to it, but done.
    control.send(r#"{"jsonrpc":"2.0","method":"mt.mem_alloc","params":[100]}"#);
    control.send(r#"{"jsonrpc":"2.0","method":"no such method"}"#);
    control.send(r#"[{"jsonrpc":"2.0","method":"mt.mem_alloc","params":[100]}]"#);
    control.send(r#"{"jsonrpc":"2.0","id":"a \"text\"","method":"mt.mem_used"}"#);
    let answer = control.answer().expect("there is an answer");
    assert_eq!((&answer["id"], &answer["result"]["bytes"]), (&json!("a \"text\""), &json!(200)), "{answer}");
    control.send(
        r#"[{"jsonrpc":"2.0","id":1,"method":"mt.mem_alloc","params":[300]},
            {"jsonrpc":"2.0","method":"mt.mem_alloc","params":[400]},
            7,
            {"jsonrpc":"2.0","id":2,"method":"nothing"},
            {"jsonrpc":"2.0","id":null,"method":"mt.mem_used"}]"#,
    );
    let answers = control.answer().expect("there is an answer");
    let answers = answers.as_array().unwrap_or_else(|| panic!("no batch: {answers}"));
    assert_eq!(answers.len(), 4, "{answers:?}");
    let by_id =
        |id: &Value| answers.iter().find(|answer| answer["id"] == *id && answer["error"] != json!(-32600));
    assert!(by_id(&json!(1)).is_some_and(|answer| answer["result"]["address"].is_string()), "{answers:?}");
    assert_eq!(by_id(&json!(2)).map(|answer| error(answer).0), Some(-32601));
    let of_no_id: Vec<_> = answers.iter().filter(|answer| answer["id"].is_null()).collect();
    assert_eq!(of_no_id.len(), 2, "{answers:?}");
    assert!(of_no_id.iter().any(|answer| answer["result"]["bytes"] == 900), "{answers:?}");
    assert!(of_no_id.iter().any(|answer| answer["error"]["code"] == -32600), "{answers:?}");
    open.lives();
}

#[test]
fn a_framed_request_gets_a_framed_answer() {
    let mut open = Open::start("");
    let mut control = open.connect();
    for id in 1..=3 {
        let body = request(id, "mt.mem_alloc", &json!([10]));
        control.send(format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(control.framed()["id"], id);
    }
    // The two kinds take turns.
    assert_eq!(control.call("mt.mem_used", json!([]))["chunks"], 3);
    let body = request(9, "nothing", &json!([]));
    control.send(format!("content-length:{}\r\nContent-Type: application/json\r\n\r\n{body}", body.len()));
    assert_eq!(error(&control.framed()).0, -32601);
    open.lives();
}

#[test]
fn clients_work_side_by_side() {
    let mut open = Open::start("");
    // One has not sent all, one never reads what is answered, one has gone.
    let mut slow = open.connect();
    slow.send("{\"jsonrpc\":");
    let mut deaf = open.connect();
    for _ in 0..200 {
        deaf.send(request(1, "help", &json!([])));
    }
    drop(open.connect());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut control = open.connect();
                for _ in 0..50 {
                    control.call("mt.mem_alloc", json!([1, "k"]));
                }
            });
        }
    });
    let used = open.connect().call("mt.mem_used", json!(["k"]));
    assert_eq!((&used["bytes"], &used["chunks"]), (&json!(400), &json!(400)));
    slow.send(r#""2.0","id":5,"method":"mt.mem_free"}"#);
    assert_eq!(slow.answer().map(|answer| answer["result"]["bytes"].clone()), Some(json!(400 * 1024)));
    open.lives();
}

#[test]
fn more_clients_than_fit_harm_nobody() {
    let mut open = Open::start("");
    let path = open.small.stress.socket(open.daemon.pid());
    let many: Vec<_> = (0..300).filter_map(|_| std::os::unix::net::UnixStream::connect(&path).ok()).collect();
    let _ = answer(&open.small.stress.bench.folder(), &open.small.request("alive"));
    drop(many);
    open.lives();
}

#[test]
fn no_client_gets_more_than_there_may_be() {
    let mut open = Open::start("--max-total 1m");
    let mut control = open.connect();
    let mut refused = 0;
    for _ in 0..200 {
        if let Err((code, _)) = control.ask("mt.mem_alloc", json!([16, "k"])) {
            assert_eq!(code, -32001);
            refused += 1;
        }
    }
    assert!((130..=190).contains(&refused), "{refused}");
    // The smallest chunks have their price, too.
    let _ = control.ask("mt.mem_free", json!([512, "k"]));
    assert_eq!(
        control.ask("mt.mem_rnd_alloc", json!([1, 1, 1 << 20])).map_err(|(code, _)| code),
        Err(-32001)
    );
    let started = (0..100).map(|_| {
        let unpaced = json!({ "min": 1, "max": 4096, "total": 1 << 30, "min_int": 0.05, "max_int": 0.05,
                              "time": 60_000 });
        control.ask("mt.mem_test_start", unpaced).map_err(|(code, _)| code)
    });
    let started: Vec<_> = started.collect();
    for answer in &started {
        assert!(matches!(answer, Ok(_) | Err(-32004 | -32001)), "{started:?}");
    }
    for _ in 0..10 {
        let status = control.call("memtrial.status", json!([]));
        assert_eq!(status["most"], 1 << 20, "{status}");
        assert!(status["held"].as_u64() <= Some(1 << 20), "{status}");
    }
    control.call("mt.mem_test_destroy_all", json!([]));
    control.call("mt.mem_free", json!([]));
    open.lives();
}

#[test]
fn noise_harms_nobody() {
    let mut open = Open::start("");
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = request(1, "mt.mem_test_start", &json!([16, 64, 1000, 1, 1, 1000, "k"])).into_bytes();
    for round in 0..300 {
        let mut bytes = good.clone();
        if round % 3 == 0 {
            bytes = (0..random() % 500).map(|_| random().to_le_bytes()[0]).collect();
        } else {
            for _ in 0..=random() % 4 {
                let place = usize::try_from(random()).unwrap_or(0) % bytes.len();
                bytes[place] = random().to_le_bytes()[0];
            }
        }
        let mut control = open.connect();
        control.send(&bytes);
        drop(control);
    }
    open.connect().call("mt.mem_test_destroy_all", json!([]));
    open.lives();
}

#[test]
fn an_allocation_that_nobody_waits_for_any_more_ends() {
    let mut open = Open::start("--max-total 4g");
    let pid = open.daemon.pid();
    let before = private(pid);
    let mut control = open.connect();
    // It would take minutes.
    control.send(request(1, "mt.mem_rnd_alloc", &json!([16, 16, 2_u64 << 30])));
    wait_for("it has begun", || (private(pid) > before + (1 << 20)).then_some(()));
    drop(control);
    let used = open.connect().call("mt.mem_used", json!([]));
    assert!((1..2_u64 << 30).contains(&used["bytes"].as_u64().expect("a number")), "{used}");
    open.connect().call("mt.mem_free", json!([]));
    open.lives();
}
