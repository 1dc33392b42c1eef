//! The real client's core against the broker: both ends in memory, in virtual time, over connections that are cut at any
//! byte.

use std::collections::BTreeMap;
use std::rc::Rc;

use wasmqtt::broker::{Broker, ConnectionId, Transmit};
use wasmqtt::codec::*;
use wasmqtt::options::Draft;
use wasmqtt::session::*;

use crate::net::plain;
use crate::support::options;

/// A client that publishes what it is told to, and keeps what it gets.
struct Client {
    session: Session,
    connection: Option<ConnectionId>,
    slots: BTreeMap<u32, Rc<str>>,
    got: Vec<String>,
    /// Numbers of publishes that are done.
    done: Vec<u32>,
    closed: bool,
}

struct World {
    now: Instant,
    broker: Broker,
    clients: Vec<Client>,
}

impl World {
    fn new(version: u8, names: &[&str]) -> Self {
        let now = Instant(1_000_000_000);
        let client = |name: &&str| {
            let text = format!(
                "protocolVersion={version} clientId={name} clean=false reconnect.initial=true \
                 reconnect.minDelay=100 reconnect.maxDelay=100"
            );
            Client {
                session: Session::new(options(&text), 7).unwrap(),
                connection: None,
                slots: BTreeMap::new(),
                got: Vec::new(),
                done: Vec::new(),
                closed: false,
            }
        };
        let broker = Broker::new(plain(), now, 1).unwrap();
        let mut world = Self { now, broker, clients: names.iter().map(client).collect() };
        for client in &mut world.clients {
            client.session.connect();
        }
        world.run();
        world
    }

    /// Until nothing moves.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for client in &mut self.clients {
                moved |= client.run(self.now, &mut self.broker);
            }
            while let Some((id, transmit)) = self.broker.poll_transmit(self.now) {
                moved = true;
                let client = self.clients.iter_mut().find(|client| client.connection == Some(id));
                let Some(client) = client else { continue };
                match transmit {
                    Transmit::Bytes(bytes) => client.receive(self.now, &bytes),
                    Transmit::Close | Transmit::Drop => {
                        client.connection = None;
                        let attempt = client.session.attempt_id();
                        client.session.handle_close(self.now, attempt, Some(1006), None);
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Time goes by.
    fn wait(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        loop {
            let clients = self.clients.iter().filter_map(|client| client.session.poll_timeout());
            let next = clients.chain(self.broker.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            for client in &mut self.clients {
                if client.session.poll_timeout().is_some_and(|next| next <= self.now) {
                    client.session.handle_timeout(self.now);
                }
            }
            self.run();
        }
        self.now = until;
    }

    fn publish(&mut self, client: usize, topic: &str, payload: &str, qos: QoS, number: u32) {
        let session = &mut self.clients[client].session;
        let topic = session.topic(topic).unwrap();
        let accepted = session
            .publish(self.now, topic, payload.as_bytes(), qos, false, None, Token::new(number))
            .unwrap();
        if accepted == Accepted::Written {
            self.clients[client].done.push(number);
        }
    }

    fn subscribe(&mut self, client: usize, filter: &str, qos: QoS) {
        let options = SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        let filters = [(Rc::from(filter), options)];
        let session = &mut self.clients[client].session;
        session.subscribe(None, Handle(1), &filters, Draft::default()).unwrap();
        self.run();
    }
}

impl Client {
    fn run(&mut self, now: Instant, broker: &mut Broker) -> bool {
        let mut moved = false;
        while let Some(bytes) = self.session.poll_transmit(now) {
            moved = true;
            if let Some(id) = self.connection {
                broker.handle_input(now, id, bytes);
            }
        }
        self.listen(&[]);
        while let Some(command) = self.session.poll_command() {
            moved = true;
            match command {
                Command::Resolve { id, .. } => self.session.handle_resolved(
                    now,
                    id,
                    Ok(Resolved {
                        servers: vec![Server {
                            url: "ws://broker".into(),
                            credentials: Credentials::default(),
                        }],
                        dynamic: false,
                    }),
                ),
                Command::Open { id, .. } => {
                    self.connection = Some(broker.handle_open(now));
                    self.session.handle_open(now, id);
                }
                Command::Close { .. } => {
                    if let Some(id) = self.connection.take() {
                        broker.handle_close(now, id);
                    }
                }
                Command::Judge { .. } => self.session.handle_verdict(now, None),
                Command::Authenticate { .. } | Command::Load { .. } | Command::Store => {
                    panic!("nobody asked for it")
                }
            }
        }
        moved
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let mut offset = 0;
        loop {
            let input = Input { bytes: &bytes[offset..], offset, beyond: 0 };
            let consumed = self.session.handle_input(now, input);
            offset += consumed.used;
            self.listen(bytes);
            if consumed.then != Then::Paused || offset >= bytes.len() {
                return;
            }
        }
    }

    fn listen(&mut self, chunk: &[u8]) {
        let mut some = false;
        while let Some(event) = self.session.poll_event() {
            some = true;
            match event {
                Event::Slot { slot, topic, .. } => _ = self.slots.insert(slot, topic),
                Event::Message(message) => {
                    let bytes = if message.assembled { self.session.assembled() } else { chunk };
                    let span = message.payload;
                    let payload = &bytes[span.start as usize..][..span.len as usize];
                    let payload = std::str::from_utf8(payload).unwrap();
                    self.got.push(format!("{} {payload}", self.slots[&message.slot]));
                }
                Event::Published { token, .. } => self.done.push(token.get()),
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
        if some {
            self.session.delivered();
        }
    }
}

/// Serves [MQTT3-7.0.0-2] [MQTT5-4.3.3-6]
#[test]
fn they_understand_each_other() {
    for version in [5, 4] {
        let mut world = World::new(version, &["pub", "sub"]);
        world.subscribe(1, "a/#", QoS::ExactlyOnce);
        let mut expected = Vec::new();
        for number in 0..300 {
            let qos = QoS::from_bits((number % 3) as u8).unwrap();
            let topic = format!("a/{}", number % 7);
            world.publish(0, &topic, &number.to_string(), qos, number + 1);
            expected.push(format!("{topic} {number}"));
        }
        world.run();
        world.clients[0].done.sort_unstable();
        assert_eq!(world.clients[0].done, (1..=300).collect::<Vec<_>>());
        // QoS 0 may overtake the others; each QoS keeps its order.
        let mut got = world.clients[1].got.clone();
        got.sort_by_key(|line| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap());
        assert_eq!(got, expected);
        world.clients[0]
            .session
            .end(world.now, 3_000, false, ReasonCode::SUCCESS, Draft::default())
            .unwrap();
        world.run();
        assert!(world.clients[0].closed);
        let connected: Vec<_> = world.broker.clients().filter(|client| client.connected).collect();
        assert_eq!(connected.len(), 1);
    }
}

/// Serves [MQTT5-4.4.0-1] [MQTT3-4.4.0-1] [MQTT5-4.3.3-10]
#[test]
fn nothing_is_lost_or_doubled_when_either_side_is_cut_at_any_byte() {
    for version in [5, 4] {
        for who in ["pub", "sub"] {
            for bytes in 0..160 {
                let mut world = World::new(version, &["pub", "sub"]);
                world.subscribe(1, "a", QoS::ExactlyOnce);
                world.broker.cut_after(world.now, bytes, Some(who));
                let expected: Vec<_> = (0..6).map(|number| format!("a {number}")).collect();
                for number in 0..6 {
                    world.publish(0, "a", &number.to_string(), QoS::ExactlyOnce, number + 1);
                }
                world.run();
                world.wait(5_000);
                assert_eq!(world.clients[1].got, expected, "{version} {who} {bytes}");
                assert_eq!(world.clients[0].done, [1, 2, 3, 4, 5, 6], "{version} {who} {bytes}");
            }
        }
    }
}

#[test]
fn a_client_survives_what_the_test_does_to_it() {
    for version in [5, 4] {
        let mut world = World::new(version, &["pub", "sub"]);
        world.subscribe(1, "a", QoS::AtLeastOnce);
        let faults: [fn(&mut Broker, Instant); 6] = [
            |broker, now| broker.drop_connections(now, None),
            |broker, now| {
                broker.disconnect(now, ReasonCode::SERVER_SHUTTING_DOWN, Some("sub")).unwrap();
            },
            |broker, now| {
                broker.lose_session(Some("sub"));
                broker.drop_connections(now, Some("sub"));
            },
            |broker, _| _ = broker.freeze(Some("sub")),
            |broker, _| broker.delay(200),
            |broker, now| broker.cut_after(now, 10, None),
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            fault(&mut world.broker, world.now);
            world.run();
            // Keep-alive finds what is half open.
            world.wait(300_000);
            let text = number.to_string();
            world.publish(0, "a", &text, QoS::AtLeastOnce, number as u32 + 1);
            world.run();
            world.wait(5_000);
            assert_eq!(world.clients[1].got.last(), Some(&format!("a {text}")), "{version}");
        }
    }
}
