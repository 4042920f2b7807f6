//! The way to a bucket: endpoint, region, credentials or none, and patience.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde::{Deserialize, Serialize};

use crate::storage::{Retry, StorageError};

/// Buckets that anybody may read without credentials, and where they are.
const PUBLIC_BUCKETS: [(&str, &str); 1] = [("noaa-hrrr-bdp-pds", "us-east-1")];

/// The region of last resort, as in the AWS tools of old; servers other than AWS mostly accept any.
const DEFAULT_REGION: &str = "us-east-1";

/// The longest wait for a connection; a server that is there answers within a round trip or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a bucket. Everything left out is found as the AWS tools find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Options {
    /// The server, `http://…` or `https://…`; else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS itself.
    pub endpoint: Option<String>,
    /// The region; else AWS_REGION, AWS_DEFAULT_REGION, the profile's, or us-east-1.
    pub region: Option<String>,
    /// `true`: no credentials; `false`: credentials must be found; left out: none where none are found, and none for a
    /// bucket known to be public.
    pub anonymous: Option<bool>,
    /// Whether the bucket's name goes into the path instead of the host name; left out: where an endpoint is given.
    pub path_style: Option<bool>,
    /// How long a request that fails for a passing reason is tried again; left out: five minutes.
    pub retry_seconds: Option<u32>,
}

/// A client for one bucket, and whether it goes without credentials.
pub(super) async fn connect(
    location: &str,
    bucket: &str,
    options: &S3Options,
    retry: &Retry,
) -> Result<(Client, bool), StorageError> {
    let endpoint = endpoint(location, options)?;
    let public = PUBLIC_BUCKETS.into_iter().find(|(name, _)| *name == bucket && endpoint.is_none());
    let decided = options.anonymous.or(public.map(|_| true));
    let loader = loader(options, public.map(|(_, region)| region), retry);
    let shared = if decided == Some(true) { loader.no_credentials().load().await } else { loader.load().await };
    let anonymous = match decided {
        Some(true) => true,
        _ => !has_credentials(location, &shared, decided).await?,
    };
    if anonymous && options.anonymous.is_none() {
        tracing::info!(location, "no credentials are used: the bucket is read anonymously");
    }
    // A chain that has nothing would fail every request, even where none need be signed.
    let mut shared = shared.into_builder();
    if anonymous {
        shared.set_credentials_provider(None);
    }
    Ok((Client::from_conf(configure(&shared.build(), endpoint, options, anonymous).build()), anonymous))
}

/// The server that the options or the environment name.
fn endpoint(location: &str, options: &S3Options) -> Result<Option<String>, StorageError> {
    let variables = || variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    let Some(endpoint) = options.endpoint.clone().or_else(variables) else { return Ok(None) };
    let host = endpoint.strip_prefix("http://").or(endpoint.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(Some(endpoint)),
        _ => Err(StorageError::Options {
            location: location.to_string(),
            reason: format!("`{endpoint}` is no endpoint: expected http://host:port or https://host:port"),
        }),
    }
}

/// An environment variable, where it is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn loader(options: &S3Options, public: Option<&'static str>, retry: &Retry) -> ConfigLoader {
    let named = options.region.clone().or(public.map(str::to_string)).map(Region::new);
    // The instance metadata service is left out: off AWS it costs seconds of waiting.
    let region = RegionProviderChain::first_try(named)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(DEFAULT_REGION);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(retry.patience))
        .read_timeout(retry.patience)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .region(region)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(retry.patience).build())
}

/// TLS by rustls with ring, the system's root certificates, and connections that are kept.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

async fn has_credentials(location: &str, shared: &SdkConfig, decided: Option<bool>) -> Result<bool, StorageError> {
    let reason = match shared.credentials_provider() {
        None => "the configuration has no credential chain".to_string(),
        Some(provider) => match provider.provide_credentials().await {
            Ok(_) => return Ok(true),
            Err(CredentialsError::CredentialsNotLoaded(_)) => match variable("AWS_PROFILE") {
                Some(profile) => format!("the profile `{profile}` (AWS_PROFILE) gives none"),
                None if decided.is_none() => return Ok(false),
                None => "there are none in the environment, nor in ~/.aws, nor given to this machine".to_string(),
            },
            Err(error) => super::failure::chain(&error),
        },
    };
    Err(StorageError::Credentials { location: location.to_string(), reason })
}

fn configure(shared: &SdkConfig, endpoint: Option<String>, options: &S3Options, anonymous: bool) -> Builder {
    let mut builder = Builder::from(shared).force_path_style(options.path_style.unwrap_or(endpoint.is_some()));
    if let Some(endpoint) = endpoint {
        // Servers other than AWS do not all know its newer checksums.
        builder = builder
            .endpoint_url(endpoint)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    if anonymous {
        builder.set_allow_no_auth();
    }
    builder
}
