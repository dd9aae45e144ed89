//! A page in Chromium, driven through its debugging pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::memtrial::LIMIT;

/// What keeps it from doing anything of its own.
const FLAGS: [&str; 11] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--window-size=1280,900",
];

/// A browser with one page; it ends with this.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    events: Vec<Value>,
    session: Option<String>,
    last: u64,
    _profile: TempDir,
}

impl Browser {
    /// A browser with an empty page.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().expect("there is a place for temporary files");
        // It takes commands on descriptor 3 and answers on 4.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("chromium: {error}; ./test installs it"));
        let input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                if serde_json::from_slice(&message).is_ok_and(|value| sender.send(value).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let (events, session) = (Vec::new(), None);
        let mut browser = Browser { child, input, messages, events, session, last: 0, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", &json!({ "enabled": true }));
        browser
    }

    /// Opens a file, and waits until it is loaded.
    ///
    /// # Panics
    /// When it is not.
    pub fn open(&mut self, file: &Path) {
        let begun = self.call("Page.navigate", &json!({ "url": format!("file://{}", file.display()) }));
        // The page that was there before may still be said to be loaded.
        let is_loaded = |event: &Value| {
            let (of, loader) = (&event["params"], &begun["loaderId"]);
            event["method"] == "Page.lifecycleEvent" && of["name"] == "load" && of["loaderId"] == *loader
        };
        let end = Instant::now() + LIMIT;
        while !self.events.iter().any(is_loaded) {
            self.receive(end);
        }
    }

    /// The value of an expression in the page, which may be a promise.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait(&mut self, expression: &str) {
        let end = Instant::now() + LIMIT;
        while self.value(expression) != true {
            assert!(Instant::now() < end, "never true: {expression}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Moves the mouse to the middle of an element, and clicks there if asked to.
    pub fn point_at(&mut self, element: &str, click: bool) {
        let middle = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const r = e.getBoundingClientRect(); const f = e.ownerDocument.defaultView.frameElement; \
             if (f) f.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const o = f ? f.getBoundingClientRect() : {{ left: 0, top: 0 }}; \
             return [r.left + r.width / 2 + o.left, r.top + r.height / 2 + o.top]; }})()"
        );
        let middle = self.value(&middle);
        let mut mouse = |kind: &str, buttons: u32| {
            let parameters = json!({
                "type": kind, "x": middle[0], "y": middle[1], "button": if buttons > 0 { "left" } else { "none" },
                "clickCount": buttons,
            });
            self.call("Input.dispatchMouseEvent", &parameters);
        };
        mouse("mouseMoved", 0);
        if click {
            mouse("mousePressed", 1);
            mouse("mouseReleased", 1);
        }
    }

    /// Presses a key that has a name.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key, "code": key }));
        }
    }

    /// Makes the user one who prefers dark pages.
    pub fn prefer_dark(&mut self) {
        let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
        self.call("Emulation.setEmulatedMedia", &dark);
    }

    /// What has gone wrong in the page so far: exceptions, errors on the console, what the policy refused.
    #[must_use]
    pub fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_complaint).collect()
    }

    /// What has been asked for so far, by address.
    #[must_use]
    pub fn requests(&self) -> Vec<&str> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap_or_else(|error| panic!("chromium, {method}: {error}"));
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(answer) = self.receive(end) {
                assert_eq!(answer["id"], id, "answers come in order");
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The next message, if it is an answer; events are kept.
    fn receive(&mut self, end: Instant) -> Option<Value> {
        let wait = end.saturating_duration_since(Instant::now());
        let message = self.messages.recv_timeout(wait).unwrap_or_else(|error| panic!("chromium: {error}"));
        if message["id"].is_null() {
            self.events.push(message);
            return None;
        }
        Some(message)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
