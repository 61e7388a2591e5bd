//! Who may give commands.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use foretell::control::{
    Command, CommandCodec, Effect, Key, Keys, Order, Refusal, Signature, Signer as CommandSigner,
    Unsigned,
};
use foretell::domain::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::{Control, activate, command, digest, stage};

pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn key(&self, from: i64, until: Option<i64>) -> Key {
        Key {
            public: self.0.public_key().as_ref().try_into().unwrap(),
            from: Timestamp(from),
            until: until.map(Timestamp),
        }
    }

    pub(crate) fn sign(&self, key_id: &str, command: Command) -> Command {
        let signed = CommandCodec::new().unwrap().signed_part(&command).unwrap();
        Command {
            signature: Some(Signature {
                key_id: key_id.to_owned(),
                bytes: self.0.sign(&signed).as_ref().to_vec(),
            }),
            ..command
        }
    }
}

pub(crate) fn limited(id: &str, order: Order, (sequence, not_after): (i64, i64)) -> Command {
    Command {
        sequence: Some(sequence),
        not_after: Some(not_after),
        ..command(id, order)
    }
}

/// Commands, and when the broker appended them.
fn given(old: &Signer, new: &Signer) -> [(i64, Command); 14] {
    [
        (10, old.sign("old", limited("s1", stage(1), (1, 20)))),
        (11, command("unsigned", activate(1, None))),
        (12, limited("no signature", activate(1, None), (2, 99))),
        (
            13,
            old.sign("old", command("incomplete", activate(1, None))),
        ),
        (
            14,
            old.sign("nobody", limited("unknown", activate(1, None), (2, 99))),
        ),
        (
            15,
            new.sign("old", limited("another's", activate(1, None), (2, 99))),
        ),
        (
            16,
            new.sign("new", limited("too early", activate(1, None), (2, 99))),
        ),
        (
            17,
            old.sign("old", limited("void", activate(1, None), (2, 16))),
        ),
        (
            18,
            old.sign("old", limited("replayed", activate(1, None), (1, 99))),
        ),
        (
            19,
            Command {
                reason: "changed".to_owned(),
                ..old.sign("old", limited("changed", activate(1, None), (2, 99)))
            },
        ),
        (
            20,
            old.sign("old", limited("a1", activate(1, None), (5, 20))),
        ),
        (60, new.sign("new", limited("s2", stage(2), (6, 99)))),
        (
            100,
            old.sign("old", limited("closed", activate(2, None), (7, 999))),
        ),
        (
            101,
            new.sign("new", limited("a2", activate(2, Some(7)), (7, 999))),
        ),
    ]
}

#[test]
fn where_there_are_keys_only_their_commands_count() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let keys = || {
        let keys = [("old", old.key(0, Some(100))), ("new", new.key(50, None))];
        Keys::new(keys.map(|(id, key)| (id.to_owned(), key)).into()).unwrap()
    };
    let given = given(&old, &new);
    let mut control = Control::new(keys());
    let mut refusals = BTreeMap::new();
    for (appended, command) in &given {
        if let Err(Refusal::Unsigned(why)) = control.give_at(command, Timestamp(*appended)) {
            refusals.insert(&*command.id, why);
        }
    }
    // The same again, as a producer may send it: nothing changes, and nobody is told of a refusal.
    let again = &given[0].1;
    assert_eq!(
        control.give_at(again, Timestamp(102)).unwrap(),
        Effect::Repeated
    );
    let id = |id: &str| id.to_owned();
    let expected: BTreeMap<&str, Unsigned> = [
        ("unsigned", Unsigned::NoSignature),
        ("no signature", Unsigned::NoSignature),
        ("incomplete", Unsigned::Incomplete),
        ("unknown", Unsigned::UnknownKey { id: id("nobody") }),
        ("another's", Unsigned::WrongSignature { id: id("old") }),
        ("too early", Unsigned::KeyNotValid { id: id("new") }),
        ("void", Unsigned::Void),
        (
            "replayed",
            Unsigned::OldSequence {
                sequence: 1,
                highest: 1,
            },
        ),
        ("changed", Unsigned::WrongSignature { id: id("old") }),
        ("closed", Unsigned::KeyNotValid { id: id("old") }),
    ]
    .into();
    assert_eq!(refusals, expected);
    assert_eq!(
        [6, 7].map(|origin| control.at(origin)),
        [1, 2].map(|n| Some(digest(n)))
    );
}

/// As `openssl genpkey -algorithm ed25519` writes it, without the public half.
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAgnwBFlxv/4krw8gXOcyd77UDIAwLC1SH4ZniJv5Bxm
-----END PRIVATE KEY-----
";
/// The last 32 bytes of `openssl pkey -pubout -outform DER`.
const PUBLIC: &str = "rr+saZTXGI9GIot4rXTjszEueaegqIVtNrZ/LswNMBo=";

#[test]
fn what_a_key_of_openssl_has_signed_counts() {
    let public = BASE64.decode(PUBLIC).unwrap().try_into().unwrap();
    let key = Key {
        public,
        from: Timestamp(0),
        until: None,
    };
    let keys = Keys::new(BTreeMap::from([("ops".to_owned(), key)])).unwrap();
    let mut control = Control::new(keys);
    let signer = CommandSigner::from_pem("ops", PEM.as_bytes()).unwrap();
    let codec = CommandCodec::new().unwrap();
    let command = signer.sign(&codec, limited("s1", stage(1), (1, 20)));
    assert!(matches!(
        control.give(&command.unwrap()),
        Ok(Effect::Staged { .. })
    ));
    for bad in [
        "",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        assert!(CommandSigner::from_pem("ops", bad.as_bytes()).is_err());
    }
}
