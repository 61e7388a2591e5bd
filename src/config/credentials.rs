//! Who asks a server: a name and a password, or a token, under the keys of whichever section asks.

use super::Secret;
use super::kind;
use super::reader::Section;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Basic { username: String, password: Secret },
    Bearer { token: Secret },
}

/// The names of the three keys in their section.
pub(super) struct Keys {
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) token: &'static str,
}

impl Credentials {
    /// Reads either pair of keys, or none.
    #[expect(
        clippy::option_option,
        reason = "a reported mistake and an absent key are different things"
    )]
    pub(super) fn read(section: &mut Section<'_>, keys: &Keys) -> Option<Option<Self>> {
        let name = kind::text("a user name without ':' and control characters", |text| {
            !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control())
        });
        let [username_key, password_key, token_key] =
            [keys.username, keys.password, keys.token].map(|key| section.path(key));
        let username = section.optional(keys.username, &name);
        let password = section.secret(keys.password);
        let token = section.secret(keys.token);
        let reader = section.reader();
        match (username?, password?, token?) {
            (None, None, None) => Some(None),
            (Some(username), Some(password), None) => {
                Some(Some(Self::Basic { username, password }))
            }
            (None, None, Some(token)) => Some(Some(Self::Bearer { token })),
            (Some(_), None, None) => {
                reader.refuse(&username_key, format!("needs {password_key}"));
                None
            }
            (None, Some(_), None) => {
                reader.refuse(&password_key, format!("needs {username_key}"));
                None
            }
            (_, _, Some(_)) => {
                let problem = format!(
                    "goes without {username_key} and {password_key}: a request has one of the two"
                );
                reader.refuse(&token_key, problem);
                None
            }
        }
    }

    /// As they are shown: the secrets are not.
    pub(super) fn dump(&self, keys: &Keys) -> Vec<(&'static str, toml::Value)> {
        match self {
            Self::Basic { username, password } => vec![
                (keys.username, username.clone().into()),
                (keys.password, password.to_string().into()),
            ],
            Self::Bearer { token } => vec![(keys.token, token.to_string().into())],
        }
    }
}
