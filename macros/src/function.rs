//! The function under the attribute: its parts, and what may not be asked of it.
//!
//! The body is kept as the tokens it came as. It is the compiler's to judge, and its messages are
//! better.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Safety, Signature, Visibility};

use crate::options::{Errors, Kind};

/// A function, parsed down to its signature.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// The braces and what is between them.
    pub(crate) body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Function> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse()?;
        if !input.peek(syn::token::Brace) {
            return Err(input.error("expected a function body"));
        }
        let body = input.parse()?;
        let rest: TokenStream = input.parse()?;
        match rest.is_empty() {
            true => Ok(Function {
                attrs,
                vis,
                sig,
                body,
            }),
            false => Err(syn::Error::new_spanned(
                rest,
                "expected the function to end here",
            )),
        }
    }
}

impl Function {
    /// Reports everything about the function that the attribute cannot serve. True if it can be
    /// expanded.
    pub(crate) fn check(&self, kind: Kind, simulated: bool, errors: &mut Errors) -> bool {
        let complaints = self.complaints(kind, simulated);
        let sound = complaints.is_empty();
        for complaint in complaints {
            errors.push(complaint);
        }
        sound
    }

    fn complaints(&self, kind: Kind, simulated: bool) -> Vec<syn::Error> {
        let sig = &self.sig;
        let attribute = kind.attribute();
        let mut complaints = Vec::new();
        let mut complain = |at: &dyn ToTokens, message: String| {
            complaints.push(syn::Error::new_spanned(at, message));
        };
        if let Some(attr) = self.second_test_attribute(kind) {
            let message =
                format!("{attribute} already makes this a test; remove the second test attribute");
            complain(attr, message);
        }
        if sig.asyncness.is_none() {
            let name = &sig.ident;
            let message = format!("{attribute} takes an `async fn`; write `async fn {name}`");
            complain(&sig.fn_token, message);
        }
        // A simulated test may take the simulation.
        if sig.inputs.len() > usize::from(simulated) {
            complain(&sig.inputs, self.arguments_message(kind).to_owned());
        }
        if let Some(variadic) = &sig.variadic {
            complain(variadic, self.arguments_message(kind).to_owned());
        }
        if !sig.generics.params.is_empty() {
            let message = format!(
                "a function under {attribute} cannot be generic: nothing would choose the types"
            );
            complain(&sig.generics, message);
        }
        if let Some(clause) = &sig.generics.where_clause {
            complain(clause, format!("{attribute} takes no `where` clause"));
        }
        if let Some(constness) = &sig.constness {
            complain(constness, format!("{attribute} takes no `const fn`"));
        }
        if let Safety::Unsafe(token) = &sig.safety {
            let message =
                format!("{attribute} takes no `unsafe fn`; put the `unsafe` block inside");
            complain(token, message);
        }
        if let Some(abi) = &sig.abi {
            complain(abi, format!("{attribute} takes no `extern fn`"));
        }
        complaints
    }

    fn arguments_message(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Main if self.sig.ident == "main" => {
                "`main` takes no arguments; the command line is in `std::env::args()`"
            }
            Kind::Main => {
                "a function under #[heist::main] takes no arguments: it is the entry to a runtime"
            }
            Kind::Test => "a test takes no arguments; call this function from a test without any",
        }
    }

    /// Two test attributes would run the test twice.
    fn second_test_attribute(&self, kind: Kind) -> Option<&Attribute> {
        let attrs = self.attrs.iter();
        attrs
            .filter(|_| kind == Kind::Test)
            .find(|attr| is_test(attr))
    }
}

/// `#[test]`, `#[tokio::test]` and their like.
pub(crate) fn is_test(attr: &Attribute) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|last| last.ident == "test")
}
