//! The core as JavaScript meets it, in Node and in a browser: a host and a socket of a few lines around the real `Core`.
#![cfg(target_arch = "wasm32")]

use std::rc::Rc;

use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use wasmqtt::web::records::{
    DONE, EVENT, HAS_PROPERTIES, IN_MEMORY, KIND, MESSAGE, QOS_SHIFT, SLOT, SLOT_SHIFT,
};
use wasmqtt::web::{Core, CoreHost, matches};

/// A host that keeps what it is told, and a socket that keeps what it is given. `copy` and `batch` see the memory anew each
/// time, as it may have grown.
const HOST: &str = r#"
    const socket = { readyState: 0, bufferedAmount: 0, protocol: 'mqtt', frames: [],
      send(data) { this.frames.push(new Uint8Array(data)) }, close() { this.closed = true } };
    const host = { socket, records: [], events: [], timers: [], chunk: new Uint8Array(),
      read({ data }, at, room) {
        if (!(data instanceof Uint8Array)) return -1;
        this.chunk = data;
        if (data.length <= room) this.copy(0, at, data.length);
        return data.length;
      },
      copy(offset, at, length) { new Uint8Array(memory.buffer).set(this.chunk.subarray(offset, offset + length), at) },
      batch(at, count) {
        const words = [...new Uint32Array(memory.buffer, at, count)];
        this.records.push(words);
        for (let i = 0; i < words.length;) {
          const head = words[i];
          switch (head & bits.kind) {
            case bits.message: i += 3 + (head >>> bits.qos & 3 ? 1 : 0) + (head & bits.properties ? 2 : 0); break;
            case bits.slot: i += 5 + words[i + 3] + words[i + 4]; break;
            case bits.done: i += 2; break;
            case bits.event: this.events.push(this.core.event(words[i + 1])); i += 2; break;
            default: throw new Error(`a record of kind ${head & bits.kind}`);
          }
        }
      },
      listen(socket) {
        socket.onopen = () => this.core.opened();
        socket.onmessage = (event) => this.core.message(event);
        socket.onclose = ({ code }) => this.core.closed(code);
        socket.onerror = () => {};
        return socket.readyState === 1;
      },
      ignore() { socket.onopen = socket.onmessage = socket.onclose = null },
      now: () => performance.now(),
      timer(ms) { this.timers.push(ms) },
      later() { this.waits = true },
      wake() { this.core.flush() },
      settle(...answer) { Promise.resolve().then(() => this.core.settle(...answer)) },
      resolve(id) { this.settle(id, 0, true, [false, 'ws://broker/mqtt', undefined, undefined]) },
      open(id, url) { this.url = url; this.settle(id, 1, true, socket) },
      agreed: () => true,
      write(at, length) { socket.send(new Uint8Array(memory.buffer, at, length)); return true },
      flush: () => true,
      buffered: () => socket.bufferedAmount,
      shut() { socket.close() },
      retry: () => undefined };
    return host;
"#;

/// The slot of the first topic. Before it is the one that long topics share.
const FIRST: u32 = 1;

/// The host, which knows the records by their names.
fn new_host() -> JsValue {
    let bits = Object::new();
    for (name, value) in [
        ("kind", KIND),
        ("message", MESSAGE),
        ("slot", SLOT),
        ("done", DONE),
        ("event", EVENT),
        ("qos", QOS_SHIFT),
        ("properties", HAS_PROPERTIES),
    ] {
        Reflect::set(&bits, &name.into(), &value.into()).unwrap();
    }
    let make = Function::new_with_args("memory, bits", HOST);
    make.call2(&JsValue::NULL, &wasm_bindgen::memory(), &bits).unwrap()
}

fn new_core(host: JsValue, options: &[(&str, JsValue)]) -> Result<Core, JsValue> {
    let leaves = options.iter().flat_map(|(path, value)| [(*path).into(), value.clone()]);
    Core::new(host.unchecked_into::<CoreHost>(), 0.5, &leaves.collect())
}

struct World {
    core: Rc<Core>,
    host: JsValue,
}

fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap()
}

impl World {
    fn new(options: &[(&str, JsValue)]) -> Self {
        let host = new_host();
        let core = Rc::new(new_core(host.clone(), options).unwrap());
        // What the host calls of the core.
        let [a, b, c, d, e, f] = std::array::from_fn(|_| core.clone());
        let calls = Object::new();
        let put =
            |name: &str, function: JsValue| Reflect::set(&calls, &name.into(), &function).unwrap();
        put(
            "event",
            Closure::<dyn Fn(usize) -> JsValue>::new(move |index| a.event(index)).into_js_value(),
        );
        put("flush", Closure::<dyn Fn()>::new(move || b.flush()).into_js_value());
        let settle = move |generation, asked, fulfilled, value| {
            c.settle(generation, asked, fulfilled, value)
        };
        put("settle", Closure::<dyn Fn(u32, u32, bool, JsValue)>::new(settle).into_js_value());
        put("opened", Closure::<dyn Fn()>::new(move || d.opened()).into_js_value());
        let message = move |event: JsValue| e.message(event.unchecked_into());
        put("message", Closure::<dyn Fn(JsValue)>::new(message).into_js_value());
        let closed = move |code| f.closed(code);
        put("closed", Closure::<dyn Fn(Option<u16>)>::new(closed).into_js_value());
        Reflect::set(&host, &"core".into(), &calls).unwrap();
        Self { core, host }
    }

    /// Connected to a server that has answered with this CONNACK.
    async fn connected(options: &[(&str, JsValue)], connack: &[u8]) -> Self {
        let world = Self::new(options);
        world.core.connect();
        world.core.flush();
        // The URL comes from a promise.
        for _ in 0..3 {
            JsFuture::from(js_sys::Promise::resolve(&JsValue::NULL)).await.unwrap();
        }
        world.fire("onopen", &[]);
        world.frames();
        world.receive(connack);
        world.core.resume();
        world
    }

    fn socket(&self) -> JsValue {
        get(&self.host, "socket")
    }

    fn fire(&self, handler: &str, event: &[(&str, JsValue)]) {
        let object = Object::new();
        for (name, value) in event {
            Reflect::set(&object, &(*name).into(), value).unwrap();
        }
        let handler: Function = get(&self.socket(), handler).unchecked_into();
        handler.call1(&JsValue::NULL, &object).unwrap();
    }

    fn receive(&self, bytes: &[u8]) {
        self.fire("onmessage", &[("data", Uint8Array::from(bytes).into())]);
    }

    /// The frames that were sent since the last look.
    fn frames(&self) -> Vec<Vec<u8>> {
        let frames: Array = get(&self.socket(), "frames").unchecked_into();
        let taken = frames.splice(0, frames.length(), &JsValue::UNDEFINED);
        taken
            .iter()
            .filter_map(|frame| frame.dyn_into::<Uint8Array>().ok())
            .map(|frame| frame.to_vec())
            .collect()
    }

    /// The types of the events so far.
    fn events(&self) -> Vec<String> {
        let events: Array = get(&self.host, "events").unchecked_into();
        events.iter().filter_map(|event| get(&event, "type").as_string()).collect()
    }

    /// The words of the last batch.
    fn words(&self) -> Vec<u32> {
        let records: Array = get(&self.host, "records").unchecked_into();
        let last: Array = records.get(records.length() - 1).unchecked_into();
        last.iter().filter_map(|word| word.as_f64()).map(|word| word as u32).collect()
    }

    fn publish(&self, topic: &str, payload: &[u8], flags: u32, token: u32) -> i32 {
        let topic = self.core.topic(topic).unwrap();
        let scratch = self.core.buffer(payload.len());
        unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), scratch, payload.len()) };
        self.core.publish(topic, payload.len(), flags, token)
    }
}

/// CONNACK of MQTT 5: success, no session, no properties.
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

fn v5() -> (&'static str, JsValue) {
    ("protocolVersion", 5.into())
}

#[wasm_bindgen_test]
async fn connect_is_the_first_frame_and_the_application_hears_of_the_answer() {
    let world = World::new(&[v5(), ("clientId", "me".into()), ("keepalive", 0.into())]);
    world.core.connect();
    world.core.flush();
    assert_eq!(world.events(), ["state"], "connecting");
    for _ in 0..3 {
        JsFuture::from(js_sys::Promise::resolve(&JsValue::NULL)).await.unwrap();
    }
    assert_eq!(get(&world.host, "url").as_string().as_deref(), Some("ws://broker/mqtt"));
    assert!(world.frames().is_empty(), "nothing before the socket is open");
    world.fire("onopen", &[]);
    let frames = world.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0][..8], [0x10, frames[0].len() as u8 - 2, 0, 4, b'M', b'Q', b'T', b'T']);
    world.receive(CONNACK);
    assert_eq!(world.events(), ["state", "state", "connect"]);
}

#[wasm_bindgen_test]
async fn what_is_published_in_one_turn_leaves_as_one_frame() {
    let world = World::connected(&[v5()], CONNACK).await;
    assert_eq!(world.publish("a", b"1", 0, 0), 0, "QoS 0: written");
    assert_eq!(world.publish("a", b"2", 1, 7), 1, "QoS 1: pending");
    assert!(world.frames().is_empty());
    world.core.flush();
    let frames = world.frames();
    assert_eq!(frames, [vec![0x30, 5, 0, 1, b'a', 0, b'1', 0x32, 7, 0, 1, b'a', 0, 1, 0, b'2']]);
    world.receive(&[0x40, 2, 0, 1]);
    assert_eq!(world.words(), [DONE, 7], "reason code 0, token 7");
}

#[wasm_bindgen_test]
async fn bytes_of_subscribe_options_that_do_not_match_the_filters_are_refused() {
    let world = World::connected(&[v5()], CONNACK).await;
    let filters: Array = ["a", "b"].map(JsValue::from).into_iter().collect();
    // QoS 3 is no option, and one filter has none.
    for options in [[3, 1].as_slice(), &[1]] {
        assert_eq!(world.core.subscribe(1, 1, &filters, options), -1);
        let argument = get(&world.core.refusal(), "argument");
        assert_eq!(argument.as_string().as_deref(), Some("options"));
    }
    world.core.flush();
    assert!(world.frames().is_empty());
    assert_eq!(world.core.subscribe(1, 1, &filters, &[0, 1]), 0);
    world.core.flush();
    assert_eq!(world.frames().len(), 1);
}

#[wasm_bindgen_test]
async fn a_message_stays_in_its_chunk_and_its_topic_is_told_once() {
    let world = World::connected(&[v5()], CONNACK).await;
    // Twice the same: topic a/b, no properties, payload of three bytes.
    let publish = [0x30, 9, 0, 3, b'a', b'/', b'b', 0, 1, 2, 3];
    world.receive(&[publish, publish].concat());
    let words = world.words();
    assert_eq!(words[0] & KIND, SLOT);
    assert_eq!(words[2..5], [3, 0, 0], "a topic of three bytes, no routes, no identifiers");
    let head = MESSAGE | FIRST << SLOT_SHIFT;
    assert_eq!(words[0], SLOT | FIRST << SLOT_SHIFT);
    assert_eq!(words[5..], [head, 8, 3, head, 19, 3], "kind and slot, offset, length");
}

#[wasm_bindgen_test]
async fn a_message_in_two_chunks_is_put_together_in_memory() {
    let world = World::connected(&[v5()], CONNACK).await;
    world.receive(&[0x32, 10, 0, 1, b'a', 0]);
    world.receive(&[9, 0, 1, 2, 3, 4]);
    let words = world.words();
    let [head, at, len, _sequence] = words[words.len() - 4..] else { panic!("no message") };
    assert_eq!(head & 0x3ff, MESSAGE | 1 << QOS_SHIFT | IN_MEMORY, "QoS 1");
    let payload = unsafe { std::slice::from_raw_parts(at as *const u8, len as usize) };
    assert_eq!(payload, [1, 2, 3, 4]);
    assert_eq!(world.frames(), [vec![0x40, 2, 0, 9]], "acknowledged when it was delivered");
}

#[wasm_bindgen_test]
async fn a_large_payload_is_not_copied_in() {
    let world = World::connected(&[v5()], CONNACK).await;
    let size = 1 << 20;
    let mut packet = vec![0x30, 0x84, 0x80, 0x40, 0, 1, b'a', 0];
    packet.resize(8 + size, 7);
    world.receive(&packet);
    assert_eq!(
        world.words()[world.words().len() - 3..],
        [MESSAGE | FIRST << SLOT_SHIFT, 8, size as u32],
        "at 8 of the chunk"
    );
}

#[wasm_bindgen_test]
async fn a_text_frame_ends_the_connection() {
    let world = World::connected(&[v5(), ("reconnect", false.into())], CONNACK).await;
    world.fire("onmessage", &[("data", "hello".into())]);
    assert_eq!(world.frames(), [vec![0xE0, 1, 0x82]], "DISCONNECT: protocol error");
    assert!(get(&world.socket(), "closed").is_truthy());
    assert_eq!(world.events().last().map(String::as_str), Some("close"));
}

#[wasm_bindgen_test]
fn a_mistake_names_its_argument() {
    let host = new_host();
    let refused = |path: &str, value: JsValue| {
        let error = new_core(host.clone(), &[(path, value)]).err().unwrap();
        assert!(get(&error, "message").is_string());
        get(&error, "argument").as_string()
    };
    assert_eq!(refused("keepalive", "soon".into()).as_deref(), Some("keepalive"));
    assert_eq!(refused("keepAlive", 1.into()).as_deref(), Some("keepAlive"));
    assert_eq!(refused("will.topic", "#".into()).as_deref(), Some("will.topic"));
    assert_eq!(matches("a/+", "a/b"), Ok(true));
    assert!(matches("a/#/b", "a/b").is_err());
}
