//! Reads from an S3 failure whether it may pass, what happened in plain words, and what to do about it.

use std::error::Error;
use std::fmt::{self, Display};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

use crate::storage::retry::Failure;

/// Tries for a server that has never answered: it is more likely misspelt than busy.
const FIRST_CONTACT_TRIES: u32 = 4;

/// The code of a request that was not sent for lack of credentials.
const CREDENTIALS: &str = "Credentials";

/// What kind of failure a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object.
    Missing,
    /// The server says to come back later, or broke off.
    Passing,
    /// No connection came about.
    Unreachable,
    /// Trying again cannot help.
    Lasting,
}

/// A failed request.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) kind: Kind,
    /// The HTTP status; 0 where there was no answer.
    status: u16,
    /// S3's name for the failure, such as `NoSuchBucket`; may be empty.
    code: String,
    words: String,
    /// Where the server says that the bucket is.
    region: Option<String>,
}

impl Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.words)
    }
}

impl Cause {
    /// What the client library reports.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Cause
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map_or(0, |r| r.status().as_u16());
        let code = if lacks_credentials(&error) { CREDENTIALS } else { error.code().unwrap_or_default() }.to_string();
        let kind = match &error {
            SdkError::ServiceError(_) => answered(status, &code),
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Passing,
            SdkError::DispatchFailure(failure) if failure.is_timeout() || failure.is_io() => Kind::Unreachable,
            SdkError::DispatchFailure(failure) if failure.is_other() => Kind::Unreachable,
            _ => Kind::Lasting,
        };
        let words = match error.message() {
            Some(message) => format!("{code}: {message} (HTTP {status})"),
            None if status != 0 => format!("HTTP {status} {code}").trim_end().to_string(),
            None => chain(&error),
        };
        let header = |r: &HttpResponse| r.headers().get("x-amz-bucket-region").map(str::to_string);
        Cause { kind, status, code, words, region: error.raw_response().and_then(header) }
    }

    /// A body that broke off.
    pub(super) fn cut(error: ByteStreamError) -> Cause {
        Cause { words: format!("the answer broke off: {}", chain(&error)), ..Cause::plain(Kind::Passing) }
    }

    /// A failure that the server did not call one.
    pub(super) fn strange(kind: Kind, words: &str) -> Cause {
        Cause { words: words.to_string(), ..Cause::plain(kind) }
    }

    fn plain(kind: Kind) -> Cause {
        Cause { kind, status: 0, code: String::new(), words: String::new(), region: None }
    }

    /// Whether the range asked for lies outside the object.
    pub(super) fn is_range_refused(&self) -> bool {
        self.status == 416
    }

    /// How often this is worth trying, given whether the server has ever answered.
    pub(super) fn worth(self, answered: bool) -> Failure<Cause> {
        let worth = match self.kind {
            Kind::Passing => u32::MAX,
            Kind::Unreachable if answered => u32::MAX,
            Kind::Unreachable => FIRST_CONTACT_TRIES,
            _ => 1,
        };
        Failure { error: self, worth }
    }

    /// What the user can do about it.
    pub(super) fn advice(&self, anonymous: bool) -> String {
        match (self.status, self.code.as_str()) {
            (_, CREDENTIALS) => "the credentials could not be had or renewed: check AWS_PROFILE and its files, or the \
                role of this machine"
                .to_string(),
            _ if self.kind == Kind::Unreachable => {
                "is the network up, and is the endpoint's address right (name, port, http or https)?".to_string()
            }
            (301 | 307, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => match &self.region {
                Some(region) => format!("the bucket is in another region: set `region = \"{region}\"`"),
                None => "the bucket is in another region: set `region` to that".to_string(),
            },
            (_, "NoSuchBucket") => "check the bucket's name and the endpoint".to_string(),
            (_, "RequestTimeTooSkewed") => "set this machine's clock".to_string(),
            (401 | 403, _) if anonymous => "it was asked without credentials: set AWS_ACCESS_KEY_ID and \
                AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and do not set `anonymous = true`"
                .to_string(),
            (401 | 403, _) => "the credentials lack the right, or are wrong for this server: check them, the bucket's \
                policy and the region; a public bucket is read with `anonymous = true`"
                .to_string(),
            (429 | 503, _) => "the server throttles: try later, or with fewer requests at a time".to_string(),
            (400..500, _) => {
                "the server does not take such a request: check the endpoint, the region and the bucket's name"
                    .to_string()
            }
            _ => "try again later; if it stays so, look at the server's log".to_string(),
        }
    }
}

/// The kind of an answer that is an error.
fn answered(status: u16, code: &str) -> Kind {
    let passing = ["SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError"];
    match status {
        404 if code != "NoSuchBucket" => Kind::Missing,
        408 | 429 | 500 | 502 | 503 | 504 => Kind::Passing,
        _ if passing.contains(&code) => Kind::Passing,
        _ => Kind::Lasting,
    }
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(lacks_credentials)
}

/// An error's words and those of everything behind it, once each.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = vec![error.to_string()];
    let mut behind = error.source();
    while let Some(error) = behind {
        let next = error.to_string();
        if !words.iter().any(|w| w.contains(&next)) {
            words.push(next);
        }
        behind = error.source();
    }
    words.join(": ")
}
