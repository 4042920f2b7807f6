//! What the environment decides about a bucket: endpoint, region, credentials. One test: it changes the environment.

mod common;

use std::fs;

use common::s3_server::{KEYS, S3Server, set_credentials};
use common::scripted_server::{Reply, ScriptedServer};
use gustfront::storage::{S3Options, StorageError, open};

fn set(name: &str, value: Option<&str>) {
    // SAFETY: this file has one test, and only Rust code reads the environment, under the standard library's lock.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

fn read(options: &S3Options) -> Result<Option<bytes::Bytes>, StorageError> {
    open("s3://bucket", options)?.get("object")
}

#[test]
fn the_environment_is_honoured() {
    let root = tempfile::tempdir().unwrap();
    let public = S3Server::start(root.path(), None);
    let private = S3Server::start(root.path(), Some(KEYS));
    fs::write(public.bucket("bucket").join("object"), "content").unwrap();
    let home = root.path().to_str().unwrap();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"]
    {
        set(name, None);
    }
    set("HOME", Some(home));
    set("AWS_EC2_METADATA_DISABLED", Some("true"));
    let plain = S3Options::default();
    let must_sign = S3Options { anonymous: Some(false), ..S3Options::default() };

    // No credentials anywhere: a bucket is read without, unless they are asked for.
    set("AWS_ENDPOINT_URL_S3", Some(&public.endpoint));
    assert_eq!(read(&plain).unwrap().unwrap(), "content");
    let refused = open("s3://bucket", &must_sign).unwrap_err();
    assert!(
        matches!(refused, StorageError::Credentials { .. }) && refused.to_string().contains("AWS_PROFILE"),
        "{refused}"
    );
    assert!(open("s3://noaa-hrrr-bdp-pds", &plain).is_ok());

    // The general endpoint serves where the one for S3 is absent or empty; an option goes before both.
    set("AWS_ENDPOINT_URL_S3", Some(""));
    set("AWS_ENDPOINT_URL", Some(&private.endpoint));
    let text = read(&plain).unwrap_err().to_string();
    assert!(text.contains("it was asked without credentials"), "{text}");
    let elsewhere = S3Options { endpoint: Some(public.endpoint.clone()), ..S3Options::default() };
    assert_eq!(read(&elsewhere).unwrap().unwrap(), "content");

    // Credentials are found and used; wrong ones are told.
    set_credentials();
    assert_eq!(read(&plain).unwrap().unwrap(), "content");
    assert_eq!(read(&must_sign).unwrap().unwrap(), "content");
    set("AWS_SECRET_ACCESS_KEY", Some("wrong"));
    let text = read(&plain).unwrap_err().to_string();
    assert!(text.contains("the credentials lack the right, or are wrong"), "{text}");

    // The region is part of every signature.
    let server = ScriptedServer::start(&[Reply::Whole("200 OK", "", "content")]);
    set("AWS_ENDPOINT_URL", Some(&server.endpoint));
    set("AWS_REGION", None);
    read(&plain).unwrap();
    set("AWS_REGION", Some("eu-central-1"));
    read(&plain).unwrap();
    read(&S3Options { region: Some("ap-south-1".to_string()), ..S3Options::default() }).unwrap();
    for (request, region) in server.requests().iter().zip(["us-east-1", "eu-central-1", "ap-south-1"]) {
        assert!(request.contains(&format!("/{region}/s3/aws4_request")), "{region}: {request}");
        assert!(request.starts_with("GET /bucket/object"), "the bucket is in the path: {request}");
    }

    // Credentials that are asked for by name, or badly configured, are an error and no reason to read anonymously.
    set("AWS_ACCESS_KEY_ID", None);
    set("AWS_SECRET_ACCESS_KEY", None);
    set("AWS_PROFILE", Some("absent"));
    let unknown = open("s3://bucket", &plain).unwrap_err();
    assert!(
        matches!(unknown, StorageError::Credentials { .. }) && unknown.to_string().contains("`absent`"),
        "{unknown}"
    );
    set("AWS_PROFILE", None);
    let config = root.path().join("config");
    fs::write(&config, "[default]\nrole_arn = arn:aws:iam::1:role/x\n").unwrap();
    set("AWS_CONFIG_FILE", config.to_str());
    let broken = open("s3://bucket", &plain).unwrap_err();
    assert!(matches!(broken, StorageError::Credentials { .. }), "{broken}");
    assert!(open("s3://bucket", &S3Options { anonymous: Some(true), ..plain }).is_ok());
}

#[test]
fn options_are_read_strictly() {
    let options: S3Options = toml::from_str("endpoint = \"http://localhost:9000\"\nanonymous = true\n").unwrap();
    assert_eq!(options.endpoint.as_deref(), Some("http://localhost:9000"));
    assert_eq!((options.anonymous, options.region, options.path_style), (Some(true), None, None));
    assert!(toml::from_str::<S3Options>("endpont = \"x\"").is_err());
}
