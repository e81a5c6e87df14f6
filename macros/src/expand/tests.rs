//! What the attributes expand to, token for token, and what they say about misuse.

use std::str::FromStr;

use super::*;

fn expanded(kind: Kind, args: &str, item: &str) -> String {
    let args = TokenStream::from_str(args).expect("arguments are tokens");
    let item = TokenStream::from_str(item).expect("the item is tokens");
    expand(kind, args, item).to_string()
}

#[track_caller]
fn expands_to(kind: Kind, args: &str, item: &str, expected: &str) {
    let expected = TokenStream::from_str(expected).expect("the expectation is tokens");
    assert_eq!(expanded(kind, args, item), expected.to_string());
}

/// The messages of all `compile_error!` calls in the expansion.
fn messages(kind: Kind, args: &str, item: &str) -> Vec<String> {
    let file: syn::File =
        syn::parse_str(&expanded(kind, args, item)).expect("the expansion parses");
    let mut messages = Vec::new();
    for item in file.items {
        if let syn::Item::Macro(invocation) = item
            && invocation
                .mac
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "compile_error")
        {
            let message: syn::LitStr = invocation.mac.parse_body().expect("a message");
            messages.push(message.value());
        }
    }
    messages
}

#[track_caller]
fn complains(kind: Kind, args: &str, item: &str, expected: &[&str]) {
    let messages = messages(kind, args, item);
    assert_eq!(messages.len(), expected.len(), "{messages:#?}");
    for (message, part) in messages.iter().zip(expected) {
        assert!(
            message.contains(part),
            "{message:?} should contain {part:?}"
        );
    }
}

const MAIN: &str = "async fn main() {}";

#[test]
fn plain_main() {
    expands_to(
        Kind::Main,
        "",
        "async fn main() { work().await; }",
        "fn main() {
            async fn main() { work().await; }
            ::heist::__private::run_main(::heist::Builder::new(), main())
        }",
    );
}

#[test]
fn every_option_reaches_the_builder() {
    expands_to(
        Kind::Main,
        r#"worker_threads = 4, name = "w", flavor = "multi_thread", start_paused = true, crate = "a::b","#,
        MAIN,
        r#"fn main() {
            async fn main() {}
            a::b::__private::run_main(
                a::b::Builder::new().worker_threads(4usize).thread_name("w").start_paused(true),
                main()
            )
        }"#,
    );
    expands_to(
        Kind::Main,
        r#"flavor = "current_thread", crate = ::mine"#,
        MAIN,
        "fn main() {
            async fn main() {}
            ::mine::__private::run_main(::mine::Builder::new().current_thread(), main())
        }",
    );
}

#[test]
fn attributes_visibility_and_return_type_are_kept() {
    expands_to(
        Kind::Main,
        "",
        "#[allow(unused)] #[doc = \"Starts.\"] pub(crate) async fn start() -> io::Result<()> { step()?; Ok(()) }",
        "#[allow(unused)] #[doc = \"Starts.\"] pub(crate) fn start() -> io::Result<()> {
            async fn start() -> io::Result<()> { step()?; Ok(()) }
            ::heist::__private::run_main(::heist::Builder::new(), start())
        }",
    );
}

#[test]
fn a_test_is_marked_and_keeps_should_panic_and_ignore() {
    expands_to(
        Kind::Test,
        "",
        "#[should_panic(expected = \"boom\")] #[ignore = \"slow\"] async fn booms() { panic!(\"boom\") }",
        "#[::core::prelude::v1::test]
        #[should_panic(expected = \"boom\")] #[ignore = \"slow\"]
        fn booms() {
            async fn booms() { panic!(\"boom\") }
            ::heist::__private::run_test(::heist::Builder::new(), ::core::option::Option::None, booms())
        }",
    );
}

#[test]
fn a_test_may_have_a_limit() {
    expands_to(
        Kind::Test,
        "timeout_ms = 10_000",
        "async fn ends() {}",
        "#[::core::prelude::v1::test]
        fn ends() {
            async fn ends() {}
            ::heist::__private::run_test(
                ::heist::Builder::new(),
                ::core::option::Option::Some(::core::time::Duration::from_millis(10000u64)),
                ends()
            )
        }",
    );
}

#[test]
fn a_body_that_does_not_parse_is_left_to_the_compiler() {
    let expansion = expanded(Kind::Main, "", "async fn main() { let = ; }");
    assert!(expansion.contains("let = ;"), "{expansion}");
    assert!(!expansion.contains("compile_error"), "{expansion}");
}

#[test]
fn unusable_functions() {
    complains(
        Kind::Main,
        "",
        "fn main() {}",
        &["takes an `async fn`; write `async fn main`"],
    );
    complains(
        Kind::Main,
        "",
        "async fn main(argc: usize) {}",
        &["`std::env::args()`"],
    );
    complains(
        Kind::Main,
        "",
        "async fn helper(argc: usize) {}",
        &["takes no arguments: it is the entry"],
    );
    complains(
        Kind::Test,
        "",
        "async fn case(n: usize) {}",
        &["a test takes no arguments"],
    );
    complains(
        Kind::Main,
        "",
        "async fn main<T>() {}",
        &["cannot be generic"],
    );
    complains(
        Kind::Main,
        "",
        "async fn main() where u8: Copy {}",
        &["takes no `where` clause"],
    );
    complains(
        Kind::Main,
        "",
        "async unsafe fn main() {}",
        &["no `unsafe fn`"],
    );
    complains(
        Kind::Main,
        "",
        "async extern \"C\" fn main() {}",
        &["no `extern fn`"],
    );
    complains(
        Kind::Test,
        "",
        "fn case(n: usize) {}",
        &["#[heist::test] takes an `async fn`", "no arguments"],
    );
    complains(
        Kind::Test,
        "",
        "#[tokio::test] async fn case() {}",
        &["already makes this a test"],
    );
    complains(
        Kind::Main,
        "",
        "struct Main;",
        &["#[heist::main] goes on an `async fn`"],
    );
}

#[test]
fn an_unusable_function_leaves_a_stub_of_its_name() {
    let expansion = expanded(
        Kind::Main,
        "",
        "pub async fn main(argc: usize) -> usize { argc }",
    );
    assert!(
        expansion.ends_with("# [allow (dead_code)] pub fn main () { }"),
        "{expansion}"
    );
}

#[test]
fn bad_options_leave_the_plain_expansion() {
    let expansion = expanded(Kind::Main, "workers = 4", MAIN);
    assert!(
        expansion.contains("run_main (:: heist :: Builder :: new () , main ())"),
        "{expansion}"
    );
}

#[test]
fn unknown_options_list_the_valid_ones() {
    let all = [
        "unknown option `workers`",
        "`worker_threads = N`",
        "`flavor",
        "`name",
        "`start_paused",
        "`crate",
    ];
    for part in all {
        complains(Kind::Main, "workers = 4", MAIN, &[part]);
    }
    complains(
        Kind::Test,
        "workers = 4",
        "async fn case() {}",
        &["`timeout_ms = N`"],
    );
    complains(
        Kind::Main,
        "timeout_ms = 4",
        MAIN,
        &["an option of #[heist::test]"],
    );
}

#[test]
fn bad_values() {
    let cases = [
        ("worker_threads = 0", "`worker_threads` must be at least 1"),
        ("worker_threads = \"4\"", "takes a whole number"),
        ("worker_threads = -1", "takes a whole number"),
        ("worker_threads = 99999999999999999999999", "out of range"),
        (
            "flavor = \"threads\"",
            "either \"current_thread\" or \"multi_thread\"",
        ),
        (
            "flavor = 1",
            "either \"current_thread\" or \"multi_thread\"",
        ),
        ("name = \"\"", "not empty"),
        ("name = \"a\\0b\"", "no NUL"),
        ("name = 7", "takes a string"),
        ("start_paused = 1", "takes `true` or `false`"),
        ("crate = 1", "takes a path"),
        ("crate = \"a b\"", "takes a path"),
        ("worker_threads", "expected a value: `worker_threads = ...`"),
        (
            "worker_threads(4)",
            "expected a value: `worker_threads = ...`",
        ),
        ("4", "expected an option of the form `name = value`"),
        ("name = \"a\" start_paused = true", "expected `,`"),
    ];
    for (args, message) in cases {
        complains(Kind::Main, args, MAIN, &[message]);
    }
    complains(
        Kind::Test,
        "timeout_ms = 0",
        "async fn case() {}",
        &["`timeout_ms` must be at least 1"],
    );
}

#[test]
fn contradictions() {
    complains(
        Kind::Main,
        "name = \"a\", name = \"b\"",
        MAIN,
        &["`name` is set twice"],
    );
    complains(
        Kind::Main,
        "flavor = \"current_thread\", worker_threads = 2",
        MAIN,
        &["does not go with `flavor = \"current_thread\"`"],
    );
}

#[test]
fn all_bad_options_are_reported_at_once() {
    complains(
        Kind::Main,
        "worker_threads = 0, nome = \"a\", start_paused = 1",
        "fn main() {}",
        &[
            "at least 1",
            "unknown option `nome`",
            "takes `true` or `false`",
            "takes an `async fn`",
        ],
    );
}
