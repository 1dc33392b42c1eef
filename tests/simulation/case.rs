//! What one run does: how client and broker are set up, and then step by step what happens. Plain data made from a seed,
//! so that a run can be repeated, and cut down to the steps that matter.

use wasmqtt::options::{Options, Value};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// None but once in `n` times.
    fn rarely<T: Copy>(&mut self, n: u32, of: &[T]) -> Option<T> {
        self.one_in(n).then(|| self.pick(of))
    }
}

/// Everything is a default unless the seed says otherwise; shrinking puts defaults back.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    /// 4 or 5; None: 'auto'.
    pub version: Option<u8>,
    /// The broker knows 3.1.1 only.
    pub old_broker: bool,
    pub anonymous: bool,
    pub resumes_first: bool,
    pub keep_alive: Option<u16>,
    pub never_reconnects: bool,
    pub initial: bool,
    pub min_delay: Option<u16>,
    pub max_attempts: Option<u8>,
    pub session_expiry: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    pub alias_maximum: Option<u16>,
    pub queue_messages: Option<u32>,
    pub queue_bytes: Option<u32>,
    pub overflow: Option<&'static str>,
    pub no_offline_qos0: bool,
    pub no_resubscribe: bool,
    pub no_aliases: bool,
    /// Enhanced authentication, with so many questions of the broker.
    pub authentication: Option<u8>,
    pub dynamic_credentials: bool,
    pub asks_verdict: bool,
    pub tapped: bool,
    /// What the client has sent when it closes the socket does not arrive.
    pub lossy_close: bool,
    /// The broker refuses every so manieth message of the client.
    pub refused_messages: Option<u8>,
    /// The broker sends a copy for each subscription that matches.
    pub copies: bool,
    /// The broker uses the lowest packet identifier that is free.
    pub low_identifiers: bool,
    /// The broker hangs up on messages of this topic.
    pub poison_topic: Option<u8>,
    /// The broker hangs up on a SUBSCRIBE with this filter.
    pub poison_filter: Option<u8>,
    /// The broker hangs up on a SUBSCRIBE with more filters.
    pub most_filters: Option<u8>,
    /// A broker that knows 3.1.1 only closes the socket at a CONNECT of MQTT 5, without a word.
    pub bare_close: bool,
    /// There is a store, which takes its time and may fail.
    pub store: bool,
}

impl Config {
    fn random(r: &mut Random) -> Self {
        let version = r.pick(&[Some(5), Some(5), Some(4), None]);
        Self {
            version,
            old_broker: version == Some(4) || version.is_none() && r.one_in(2),
            anonymous: r.one_in(6),
            resumes_first: r.one_in(3),
            keep_alive: r.rarely(2, &[0, 1, 5, 20]),
            never_reconnects: r.one_in(24),
            initial: r.one_in(3),
            min_delay: r.rarely(2, &[0, 1, 100, 5_000]),
            max_attempts: r.rarely(16, &[0, 1, 3]),
            session_expiry: r.rarely(3, &[0, 2, 60, u32::MAX]),
            receive_maximum: r.rarely(3, &[1, 2, 3, 10]),
            maximum_packet_size: r.rarely(4, &[100, 200, 1_000]),
            alias_maximum: r.rarely(3, &[0, 1, 3]),
            queue_messages: r.rarely(4, &[0, 1, 2, 5]),
            queue_bytes: r.rarely(8, &[0, 20, 200]),
            overflow: r.rarely(3, &["drop-oldest", "drop-newest", "latest-per-topic", "wait"]),
            no_offline_qos0: r.one_in(8),
            no_resubscribe: r.one_in(8),
            no_aliases: r.one_in(8),
            authentication: r.rarely(8, &[0, 1, 2]),
            dynamic_credentials: r.one_in(8),
            asks_verdict: r.one_in(8),
            tapped: r.one_in(16),
            lossy_close: r.one_in(3),
            refused_messages: r.rarely(6, &[2, 3, 7]),
            copies: r.one_in(3),
            low_identifiers: r.one_in(2),
            poison_topic: r.rarely(12, &[0, 1, 2, 3]),
            poison_filter: r.rarely(12, &[0, 1, 2, 4, 9]),
            most_filters: r.rarely(16, &[1, 2, 3]),
            bare_close: r.one_in(2),
            store: r.one_in(3),
        }
    }

    pub fn options(&self) -> Options {
        let mut options = Options::new();
        let mut set = |path, value| options.set(path, value).unwrap();
        let number = |value: Option<u32>| {
            value.map_or(Value::Undefined, |value| Value::Number(value.into()))
        };
        set("protocolVersion", number(self.version.map(Into::into)));
        // 3.1.1 needs an id where the session is to be kept.
        if !self.anonymous || self.store || self.resumes_first && self.version != Some(5) {
            set("clientId", Value::Text("c".into()));
        }
        set("store", Value::Bool(self.store));
        set("clean", Value::Bool(!self.resumes_first));
        set("keepalive", number(self.keep_alive.map(Into::into)));
        if self.never_reconnects {
            set("reconnect", Value::Bool(false));
        } else {
            set("reconnect.initial", Value::Bool(self.initial));
            set("reconnect.minDelay", number(self.min_delay.map(Into::into)));
            set("reconnect.maxAttempts", number(self.max_attempts.map(Into::into)));
        }
        set("properties.sessionExpiryInterval", number(self.session_expiry));
        set("properties.receiveMaximum", number(self.receive_maximum.map(Into::into)));
        set("properties.maximumPacketSize", number(self.maximum_packet_size));
        set("properties.topicAliasMaximum", number(self.alias_maximum.map(Into::into)));
        set("queue.maxMessages", number(self.queue_messages));
        set("queue.maxBytes", number(self.queue_bytes));
        let overflow =
            self.overflow.map_or(Value::Undefined, |overflow| Value::Text(overflow.into()));
        set("queue.overflow", overflow);
        set("queue.qos0", Value::Bool(!self.no_offline_qos0));
        set("resubscribe", Value::Bool(!self.no_resubscribe));
        set("topicAliases", Value::Bool(!self.no_aliases));
        if self.authentication.is_some() {
            set("authentication.method", Value::Text("method".into()));
        }
        options
    }

    /// The same with one more default; one for each setting that is none.
    pub fn simpler(&self) -> Vec<Self> {
        let default = Self::default();
        let mut simpler = Vec::new();
        macro_rules! reset {
            ($($field:ident)*) => {$(
                if self.$field != default.$field {
                    simpler.push(Self { $field: default.$field, ..self.clone() });
                }
            )*};
        }
        reset!(version old_broker anonymous resumes_first keep_alive never_reconnects initial min_delay max_attempts
            session_expiry receive_maximum maximum_packet_size alias_maximum queue_messages queue_bytes overflow
            no_offline_qos0 no_resubscribe no_aliases authentication dynamic_credentials asks_verdict tapped lossy_close
            refused_messages copies low_identifiers poison_topic poison_filter most_filters bare_close store);
        simpler
    }
}

/// What the broker says in a CONNACK; None: nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    pub receive_maximum: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    pub maximum_qos: Option<u8>,
    pub alias_maximum: Option<u16>,
    pub keep_alive: Option<u16>,
    pub session_expiry: Option<u32>,
    pub no_retain: bool,
    pub no_wildcards: bool,
    pub no_identifiers: bool,
    pub no_shared: bool,
}

impl Limits {
    fn random(r: &mut Random) -> Self {
        Self {
            receive_maximum: r.rarely(2, &[1, 2, 3, 10]),
            maximum_packet_size: r.rarely(4, &[20, 50, 300]),
            maximum_qos: r.rarely(6, &[0, 1]),
            alias_maximum: r.rarely(2, &[1, 2, 10]),
            keep_alive: r.rarely(6, &[0, 1, 3]),
            session_expiry: r.rarely(8, &[0, 2]),
            no_retain: r.one_in(6),
            no_wildcards: r.one_in(10),
            no_identifiers: r.one_in(4),
            no_shared: r.one_in(8),
        }
    }
}

/// One thing that happens. Numbers pick from what there is at that time.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// The application calls; `flush`: and what that wrote leaves at once.
    Call {
        verb: Verb,
        flush: bool,
    },
    /// The application calls while events are handed to it.
    InHandler(Verb),
    /// From here on the application takes its time to answer what the session asks.
    Hesitate(bool),
    /// It answers the first of the session's questions.
    Answer {
        fails: bool,
    },
    /// The store has kept the write that is under way, or not.
    Keep {
        fails: bool,
    },
    /// What shouldRetry will say.
    Verdict(bool),
    /// Bytes arrive at the broker.
    ToBroker {
        bytes: u32,
    },
    /// Bytes arrive at the client as one chunk, of which `window` bytes at a time are in memory.
    ToClient {
        bytes: u32,
        window: u16,
    },
    /// Time passes, timers are punctual.
    Wait {
        ms: u32,
    },
    /// Time passes, timers are late.
    Late {
        ms: u32,
    },
    Timer,
    /// The connection ends for both sides; `arrive` of the bytes under way still reach the broker.
    Cut {
        arrive: u32,
    },
    /// The connection ends for the broker; the client is not told.
    Silence,
    /// The socket's buffer is full, or not any more.
    Pressure(bool),
    /// Another client of the broker publishes.
    Offer {
        topic: u8,
        qos: u8,
        size: u16,
        retain: bool,
        properties: bool,
    },
    /// The broker's replies wait until they are let go, in any order.
    HoldReplies(bool),
    Reply {
        which: u8,
    },
    Limits(Limits),
    RefuseConnect {
        reason: u8,
    },
    /// The broker grants the filters of the next SUBSCRIBE or UNSUBSCRIBE by a bit each, and QoS 1 at most.
    RefuseFilters {
        bits: u8,
    },
    LoseSession,
    Disconnect {
        reason: u8,
    },
    /// The broker breaks the protocol.
    Garbage {
        which: u8,
    },
    Text,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    Connect,
    Reconnect,
    Abandon,
    End {
        timeout_ms: u16,
        force: bool,
    },
    Publish {
        topic: u8,
        qos: u8,
        size: u16,
        retain: bool,
        expiry: Option<u8>,
        alias: Option<u8>,
        told: bool,
    },
    Subscribe {
        filters: Vec<(u8, u8)>,
        identifier: Option<u8>,
        properties: bool,
    },
    Leave {
        which: u8,
        told: bool,
    },
    Unsubscribe {
        filters: Vec<u8>,
    },
    Cancel {
        which: u8,
    },
    Drain,
    Reauthenticate,
    /// Of a message that is held.
    Acknowledge {
        which: u8,
        refuse: bool,
    },
    /// The next messages are held.
    HoldMessages(bool),
    ForgetTopics,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub config: Config,
    pub actions: Vec<Action>,
}

impl Case {
    pub fn new(seed: u64) -> Self {
        let r = &mut Random::new(seed);
        let config = Config::random(r);
        let mut actions = Vec::new();
        if !r.one_in(2) {
            actions.push(Action::Limits(Limits::random(r)));
        }
        if !r.one_in(16) {
            actions.push(Action::Call { verb: Verb::Connect, flush: true });
        }
        let length = r.pick(&[15, 40, 40, 100, 100, 250]);
        while actions.len() < length {
            actions.push(Action::random(r));
        }
        Self { seed, config, actions }
    }
}

impl Action {
    fn random(r: &mut Random) -> Self {
        match r.below(1060) {
            0..260 => Self::Call { verb: Verb::random(r), flush: !r.one_in(6) },
            260..300 => Self::InHandler(Verb::random(r)),
            300..480 => Self::ToBroker { bytes: some_bytes(r) },
            480..680 => Self::ToClient {
                bytes: some_bytes(r),
                window: r.pick(&[u16::MAX, u16::MAX, u16::MAX, 7, 40]),
            },
            680..780 => Self::Offer {
                topic: r.byte(),
                qos: r.pick(&[0, 1, 1, 2, 2, 2]),
                size: size(r),
                retain: r.one_in(6),
                properties: r.one_in(4),
            },
            780..850 => {
                Self::Wait { ms: r.pick(&[1, 10, 100, 1_000, 1_000, 2_500, 10_000, 40_000]) }
            }
            850..856 => Self::Late { ms: r.pick(&[10, 1_000, 5_000, 100_000]) },
            856..860 => Self::Timer,
            860..885 => Self::Cut { arrive: some_bytes(r) },
            885..890 => Self::Silence,
            890..900 => Self::Pressure(r.one_in(2)),
            900..915 => Self::HoldReplies(!r.one_in(3)),
            915..940 => Self::Reply { which: r.byte() },
            940..950 => Self::Limits(Limits::random(r)),
            950..955 => Self::RefuseConnect { reason: r.byte() },
            955..963 => Self::RefuseFilters { bits: r.byte() },
            963..970 => Self::LoseSession,
            970..976 => Self::Disconnect { reason: r.byte() },
            976..979 => Self::Garbage { which: r.byte() },
            979..981 => Self::Text,
            981..986 => Self::Hesitate(!r.one_in(3)),
            986..998 => Self::Answer { fails: r.one_in(8) },
            998..1000 => Self::Verdict(!r.one_in(4)),
            _ => Self::Keep { fails: r.one_in(8) },
        }
    }

    /// Kinds of things that happen, for shrinking: what has the same number can be left out at once.
    pub fn kind(&self) -> u32 {
        match self {
            Self::InHandler(_) => 1,
            Self::Hesitate(_) | Self::Answer { .. } | Self::Verdict(_) => 2,
            Self::Late { .. } | Self::Timer => 3,
            Self::Cut { .. } => 4,
            Self::Silence => 5,
            Self::Pressure(_) => 6,
            Self::HoldReplies(_) | Self::Reply { .. } => 7,
            Self::Limits(_) => 8,
            Self::RefuseConnect { .. } => 9,
            Self::RefuseFilters { .. } => 10,
            Self::LoseSession => 11,
            Self::Disconnect { .. } => 12,
            Self::Garbage { .. } | Self::Text => 13,
            Self::Offer { .. } => 14,
            Self::Keep { .. } => 18,
            Self::Wait { .. } => 15,
            Self::Call { verb: Verb::Publish { .. }, .. } => 16,
            Self::Call {
                verb: Verb::Subscribe { .. } | Verb::Leave { .. } | Verb::Unsubscribe { .. },
                ..
            } => 17,
            Self::Call { .. } | Self::ToBroker { .. } | Self::ToClient { .. } => 0,
        }
    }

    pub const KINDS: u32 = 19;
}

impl Verb {
    fn random(r: &mut Random) -> Self {
        match r.below(1000) {
            0..520 => Self::Publish {
                topic: r.byte(),
                qos: r.pick(&[0, 1, 1, 2, 2, 2]),
                size: size(r),
                retain: r.one_in(8),
                expiry: r.rarely(8, &[0, 1, 5, 60]),
                alias: r.rarely(40, &[1, 2, 3]),
                told: !r.one_in(8),
            },
            520..680 => Self::Subscribe {
                filters: (0..r.pick(&[1, 1, 1, 2, 3]))
                    .map(|_| (r.byte(), r.pick(&[0, 1, 2, 2])))
                    .collect(),
                identifier: r.rarely(20, &[1, 2, 9]),
                properties: r.one_in(8),
            },
            680..720 => Self::Leave { which: r.byte(), told: !r.one_in(8) },
            720..750 => {
                Self::Unsubscribe { filters: (0..r.pick(&[1, 1, 2])).map(|_| r.byte()).collect() }
            }
            750..810 => Self::Cancel { which: r.byte() },
            810..830 => Self::Drain,
            830..840 => Self::Reauthenticate,
            840..870 => Self::HoldMessages(!r.one_in(3)),
            870..940 => Self::Acknowledge { which: r.byte(), refuse: r.one_in(6) },
            940..960 => Self::Connect,
            960..975 => Self::Reconnect,
            975..980 => Self::Abandon,
            980..985 => Self::ForgetTopics,
            985..990 => Self::End { timeout_ms: r.pick(&[0, 100, 3_000]), force: r.one_in(3) },
            _ => Self::Connect,
        }
    }
}

fn some_bytes(r: &mut Random) -> u32 {
    match r.below(4) {
        0 => 1 + r.below(8),
        1 => 1 + r.below(60),
        _ => u32::MAX,
    }
}

fn size(r: &mut Random) -> u16 {
    match r.below(50) {
        0 => 20_000,
        1..=5 => 50 + r.below(400) as u16,
        _ => r.below(12) as u16,
    }
}
