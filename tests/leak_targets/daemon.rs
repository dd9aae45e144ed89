// What the daemons in Rust have in common: a request on a Unix socket, the work, an answer.
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

/// Answers requests for good; the number of a round counts from 1.
pub fn serve(mut work: impl FnMut(u32)) -> ! {
    let _ = std::fs::remove_file("socket");
    let listener = UnixListener::bind("socket").expect("the folder is writable");
    let mut rounds = 0;
    loop {
        let Ok((mut client, _)) = listener.accept() else { continue };
        let mut request = [0; 16];
        let Ok(length) = client.read(&mut request) else { continue };
        let word = match &request[..length] {
            b"alive" => "alive",
            b"work" => {
                rounds += 1;
                work(rounds);
                "done"
            }
            _ => "done",
        };
        let mut answer = [0; 32];
        let mut rest = &mut answer[..];
        let _ = writeln!(rest, "{word} {rounds}");
        let left = rest.len();
        let _ = client.write_all(&answer[..32 - left]);
    }
}
