//! The fold of the control topic: what a log of commands says, however often and in whatever pieces it is read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod any;
mod signed;
mod status;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use foretell::control::{
    COMMAND_SCHEMA, Command, CommandCodec, CommandRecord, Effect, Entry, Keys, Log, Order, Refusal,
};
use foretell::domain::{Digest, Offset, Timestamp};

use signed::{Signer, limited};

const SLOT: &str = "champion";

fn digest(n: u8) -> Digest {
    format!("{n:02x}").repeat(32).parse().unwrap()
}

fn command(id: &str, order: Order) -> Command {
    Command {
        id: id.to_owned(),
        slot: SLOT.to_owned(),
        order,
        issuer: "a test".to_owned(),
        time: 5,
        reason: "because".to_owned(),
        sequence: None,
        not_after: None,
        signature: None,
    }
}

fn stage(n: u8) -> Order {
    Order::Stage {
        uri: format!("file:///models/{n}.onnx"),
        sha256: digest(n),
    }
}

fn activate(n: u8, effective_from: Option<i64>) -> Order {
    Order::Activate {
        sha256: digest(n),
        effective_from,
    }
}

fn retire(n: u8) -> Order {
    Order::Retire { sha256: digest(n) }
}

/// A log under construction, and its fold.
struct Control {
    codec: CommandCodec,
    log: Log,
    next: i64,
}

impl Control {
    fn new(keys: Keys) -> Self {
        Self {
            codec: CommandCodec::new().unwrap(),
            log: Log::new(CommandCodec::new().unwrap(), keys),
            next: 0,
        }
    }

    fn give(&mut self, command: &Command) -> Result<Effect, Refusal> {
        self.give_at(command, Timestamp(0))
    }

    fn give_at(&mut self, command: &Command, appended: Timestamp) -> Result<Effect, Refusal> {
        let value = self.codec.write(command).unwrap();
        let record = CommandRecord {
            offset: Offset::new(self.next).unwrap(),
            appended,
            key: Some(command.slot.as_bytes()),
            value: Some(&value),
        };
        self.next += 1;
        self.log.fold(record)
    }

    fn staged(&self) -> Vec<Digest> {
        self.log.slots()[SLOT].staged().keys().copied().collect()
    }

    fn at(&self, origin: i64) -> Option<Digest> {
        let slot = self.log.slots().get(SLOT)?;
        slot.schedule().at(Timestamp(origin))
    }

    fn entries(&self) -> Vec<Entry> {
        let slot = self.log.slots().get(SLOT);
        slot.map_or_else(Vec::new, |slot| slot.schedule().entries().to_vec())
    }
}

#[test]
fn the_last_entry_that_covers_an_origin_serves_it() {
    let mut control = Control::new(Keys::default());
    assert_eq!(control.at(0), None);
    for n in 1..=3 {
        control.give(&command(&format!("s{n}"), stage(n))).unwrap();
    }
    control.give(&command("a1", activate(1, None))).unwrap();
    control
        .give(&command("a2", activate(2, Some(100))))
        .unwrap();
    assert_eq!(
        [i64::MIN, 99, 100, i64::MAX].map(|origin| control.at(origin)),
        [1, 1, 2, 2].map(|n| Some(digest(n)))
    );
    // From earlier on than the entry before it, which serves nothing any more.
    control.give(&command("a3", activate(3, Some(50)))).unwrap();
    assert_eq!(
        [49, 50, 100].map(|origin| control.at(origin)),
        [1, 3, 3].map(|n| Some(digest(n)))
    );
    assert_eq!(control.entries().len(), 2);
    control.give(&command("r2", retire(2))).unwrap();
    // For every origin: it drops all before it.
    control.give(&command("back", activate(1, None))).unwrap();
    assert_eq!(control.entries().len(), 1);
    let slot = &control.log.slots()[SLOT];
    assert_eq!(slot.previous(), Some(digest(3)));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut control = Control::new(Keys::default());
    for order in [activate(1, None), retire(1)] {
        let refused = control.give(&command("a", order));
        assert!(
            matches!(refused, Err(Refusal::NotStaged { .. })),
            "{refused:?}"
        );
    }
    assert!(control.log.slots().is_empty());
    control.give(&command("s", stage(1))).unwrap();
    // A refused command's id may be given again.
    control.give(&command("a", activate(1, None))).unwrap();
    let refused = control.give(&command("r", retire(1)));
    assert!(matches!(refused, Err(Refusal::InUse { .. })), "{refused:?}");
    let again = control.give(&command("a", activate(1, Some(7)))).unwrap();
    assert_eq!(again, Effect::Repeated);
    assert_eq!(control.at(0), Some(digest(1)));
}

#[test]
fn garbage_between_commands_is_refused_and_the_next_one_holds() {
    let mut control = Control::new(Keys::default());
    control.give(&command("s", stage(1))).unwrap();
    let good = control
        .codec
        .write(&command("a", activate(1, None)))
        .unwrap();
    let long = vec![0xc3; 16 * 1024 + 1];
    let trailing = [&good[..], &[0]].concat();
    let mut other_schema = good.clone();
    other_schema[2] ^= 1;
    let named = Command {
        slot: String::new(),
        ..command("n", stage(2))
    };
    let named = control.codec.write(&named).unwrap();
    let mut upper = good.clone();
    let at = upper.windows(2).position(|pair| pair == b"01").unwrap();
    upper[at..at + 2].copy_from_slice(b"0G");
    let champion = Some(SLOT.as_bytes());
    for (key, value) in [
        (champion, None),
        (champion, Some(&b""[..])),
        (champion, Some(&good[..good.len() - 1])),
        (champion, Some(&trailing)),
        (champion, Some(&long)),
        (champion, Some(&other_schema)),
        (Some(&b""[..]), Some(&named)),
        (champion, Some(&upper)),
        (None, Some(&good)),
        (Some(&b"another"[..]), Some(&good)),
    ] {
        let record = CommandRecord {
            offset: Offset::new(control.next).unwrap(),
            appended: Timestamp(0),
            key,
            value,
        };
        control.next += 1;
        let refused = control.log.fold(record);
        assert!(
            matches!(refused, Err(Refusal::Unreadable(_))),
            "{key:?} {value:?}: {refused:?}"
        );
    }
    assert_eq!(control.at(0), None);
    control.give(&command("a", activate(1, None))).unwrap();
    assert_eq!(control.at(0), Some(digest(1)));
}

#[test]
fn a_slot_and_the_log_are_bounded() {
    let mut control = Control::new(Keys::default());
    for n in 0..=u8::MAX {
        control.give(&command(&format!("s{n}"), stage(n))).unwrap();
    }
    let newest: Vec<Digest> = (192..=u8::MAX).map(digest).collect();
    assert_eq!(control.staged(), newest);
    let mut refused = 0;
    for n in 0..100_u8 {
        let order = activate(192 + n % 64, Some(n.into()));
        let given = control.give(&command(&format!("a{n}"), order));
        refused += usize::from(matches!(given, Err(Refusal::TooManyEntries)));
    }
    assert_eq!((refused, control.entries().len()), (36, 64));
    let given = control.give(&command("one more", stage(1)));
    assert!(matches!(given, Err(Refusal::TooManyStaged)), "{given:?}");
    assert_eq!(control.staged(), newest);
    for n in 0..100 {
        let other = Command {
            slot: format!("slot-{n}"),
            ..command(&format!("o{n}"), stage(1))
        };
        let _some_are_refused = control.give(&other);
    }
    assert_eq!(control.log.slots().len(), 16);
}

#[test]
fn what_serves_and_what_served_before_outlive_any_number_of_others() {
    let mut control = Control::new(Keys::default());
    for n in 0..2 {
        control.give(&command(&format!("s{n}"), stage(n))).unwrap();
        control
            .give(&command(&format!("a{n}"), activate(n, None)))
            .unwrap();
    }
    for n in 2..=u8::MAX {
        control.give(&command(&format!("s{n}"), stage(n))).unwrap();
    }
    let slot = &control.log.slots()[SLOT];
    assert_eq!(slot.staged().len(), 64);
    assert_eq!(slot.previous(), Some(digest(0)));
    assert!(slot.staged().contains_key(&digest(1)));
    assert!(!slot.staged().contains_key(&digest(2)));
}

#[test]
fn a_command_is_a_datum_of_its_schema_to_others() {
    let schema = apache_avro::Schema::parse_str(COMMAND_SCHEMA).unwrap();
    let signer = Signer::new(3);
    let codec = CommandCodec::new().unwrap();
    for order in [
        stage(1),
        activate(2, Some(-5)),
        activate(2, None),
        retire(3),
    ] {
        let given = signer.sign("key", limited("id", order, (1, 2)));
        let value = codec.write(&given).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let read = reader.read_value(&mut &value[10..]).unwrap();
        let Value::Record(fields) = &read else {
            panic!("{read:?}");
        };
        assert_eq!(fields[0], ("id".to_owned(), Value::String("id".to_owned())));
        // And what others write is the same to us.
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let datum = writer.write_value_to_vec(read).unwrap();
        assert_eq!(datum, value[10..]);
        assert_eq!(
            codec.read(Some(SLOT.as_bytes()), Some(&value)).unwrap(),
            given
        );
    }
}
