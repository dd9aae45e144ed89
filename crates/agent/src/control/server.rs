//! The loop of the control thread: the lease, the control socket, and its clients.

use core::sync::atomic::Ordering;

use memtrial_load::command::{Command, Fault};
use memtrial_wire::layout::{LEASED, serving};

use crate::memory::Shared;
use crate::system;

use super::connection::{Connection, State};
use super::heap_thread;
use super::sockets::{self, POLLIN, Polled};

/// Most clients at once.
const CLIENTS: usize = 32;
/// Where the lease and the socket stand among what is waited for.
const LEASE: usize = 0;
const SOCKET: usize = 1;

/// Serves until it is told to leave, or the lease ends. Returns one of [`serving`].
pub fn serve(handover: &[u8], shared: Shared) -> u32 {
    if system::own_descriptors().is_err() {
        return serving::NO_DESCRIPTORS;
    }
    let Ok(lease) = sockets::connect(handover) else { return serving::NO_SOCKET };
    let Ok(Some((kind, listener))) = sockets::receive(lease) else { return serving::NO_SOCKET };
    let Some(user) = sockets::peer_user(listener) else { return serving::NO_SOCKET };
    if !heap_thread::begin() {
        return serving::NO_MEMORY;
    }
    shared.control().serving.store(serving::YES, Ordering::Release);
    let _ = sockets::send(lease, b"k");
    let clients = [const { None }; CLIENTS];
    let mut server = Server { user, lease, leased: kind == LEASED, listener, clients, leaving: false };
    server.run();
    server.end();
    serving::LEFT
}

struct Server {
    /// Who may ask.
    user: u32,
    lease: u64,
    leased: bool,
    listener: u64,
    clients: [Option<Connection>; CLIENTS],
    leaving: bool,
}

impl Server {
    fn run(&mut self) {
        let mut busy = false;
        while !self.leaving {
            let mut polled = self.polled();
            // SAFETY: an array of them.
            let _ = unsafe { system::poll(polled.as_mut_ptr() as u64, polled.len(), busy) };
            let came = |place: usize| polled.get(place).is_some_and(|polled| polled.came != 0);
            if came(LEASE) {
                if self.leased {
                    return;
                }
                // It was only there to bring the socket.
                system::close(self.lease);
                self.lease = u64::MAX;
            }
            if came(SOCKET) {
                self.accept();
            }
            busy = false;
            for place in 0..CLIENTS {
                // After it has left there is no load to speak of.
                busy |= !self.leaving && self.serve_client(place) == State::Busy;
            }
        }
    }

    /// What is waited for: the lease, the socket, each client.
    fn polled(&self) -> [Polled; 2 + CLIENTS] {
        let mut polled = [Polled { fd: -1, events: POLLIN, came: 0 }; 2 + CLIENTS];
        polled[LEASE].fd = self.lease as i32;
        polled[SOCKET].fd = self.listener as i32;
        for (place, client) in self.clients.iter().enumerate() {
            if let Some(client) = client {
                (polled[2 + place].fd, polled[2 + place].events) = client.waits_for();
            }
        }
        polled
    }

    /// Takes a client, if it is the user's whose socket it is, or root's, and there is a place.
    fn accept(&mut self) {
        let Ok(socket) = sockets::accept(self.listener) else { return };
        let allowed = sockets::peer_user(socket).is_some_and(|user| user == self.user || user == 0);
        match self.clients.iter_mut().find(|client| client.is_none()) {
            Some(place) if allowed => *place = Connection::open(socket),
            _ => system::close(socket),
        }
    }

    fn serve_client(&mut self, place: usize) -> State {
        let Server { clients, leaving, .. } = self;
        let Some(client) = clients[place].as_mut() else { return State::Open };
        let socket = client.socket();
        let state = client.go_on(&mut |command, to| {
            if *leaving {
                return Err(Fault::Leaving);
            }
            *leaving = command == Command::Leave;
            heap_thread::carry_out(command, to, || !sockets::is_closed(socket))
        });
        if state == State::Over
            && let Some(client) = clients[place].take()
        {
            client.close();
        }
        state
    }

    /// Ends all connections.
    fn end(mut self) {
        for place in &mut self.clients {
            if let Some(client) = place.take() {
                client.close();
            }
        }
        system::close(self.listener);
        if self.lease != u64::MAX {
            system::close(self.lease);
        }
    }
}
