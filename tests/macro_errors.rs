//! What `#[heist::main]` and `#[heist::test]` say when they are misused: the text, and the place that it points to.

#[test]
fn misuse_is_explained_where_it_stands() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass.rs");
    for case in [
        "arguments",
        "bad_values",
        "contradictions",
        "generic",
        "not_a_function",
        "not_async",
        "second_test_attribute",
        "unknown_option",
    ] {
        cases.compile_fail(format!("tests/ui/{case}.rs"));
    }
}
