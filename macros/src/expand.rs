//! From the attribute's tokens to the tokens that replace the function.
//!
//! After an error there is still a function of that name, so that the compiler does not add "`main`
//! function not found" or the like: with bad options the plain expansion, with an unusable
//! signature an empty stub.

use proc_macro2::TokenStream;
use quote::quote;

use crate::function::{Function, is_test};
use crate::options::{Errors, Kind, Options};

/// Expands `#[heist::main(args)] item` or `#[heist::test(args)] item`.
pub(crate) fn expand(kind: Kind, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_) if !contains_fn(&item) => {
            let message = format!("{} goes on an `async fn`", kind.attribute());
            let error = syn::Error::new(proc_macro2::Span::call_site(), message).to_compile_error();
            return quote!(#error #item);
        }
        // A function that does not parse: the compiler says why, better than this crate could.
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let options = Options::parse(kind, args, &mut errors);
    let sound = function.check(kind, options.is_simulated(), &mut errors);
    let errors = errors.to_compile_errors();
    let function = if sound {
        wrap(kind, &options, function)
    } else {
        stub(function)
    };
    quote!(#errors #function)
}

fn wrap(kind: Kind, options: &Options, function: Function) -> TokenStream {
    let Function {
        attrs,
        vis,
        sig,
        body,
    } = function;
    let krate = options.krate();
    let builder = options.builder();
    let name = &sig.ident;
    let mut outer = sig.clone();
    outer.asyncness = None;
    let (marker, call) = match kind {
        Kind::Main => (None, quote!(#krate::__private::run_main(#builder, #name()))),
        Kind::Test if options.is_simulated() => {
            let (builder, seeds) = options.simulation();
            let marker = quote!(#[::core::prelude::v1::test]);
            // A test that takes an argument is handed the simulation.
            let sim = (!sig.inputs.is_empty()).then(|| quote!(sim));
            let test = quote!(|sim| async move {
                let _ = sim;
                #krate::__private::check_outcome(#name(#sim).await)
            });
            outer.inputs.clear();
            outer.output = syn::ReturnType::Default;
            let call = quote!(#krate::sim::run_test(#builder, #seeds, #test));
            (Some(marker), call)
        }
        Kind::Test => {
            let timeout = options.timeout();
            let marker = quote!(#[::core::prelude::v1::test]);
            (
                Some(marker),
                quote!(#krate::__private::run_test(#builder, #timeout, #name())),
            )
        }
    };
    quote! {
        #marker
        #(#attrs)*
        #vis #outer {
            #sig #body
            #call
        }
    }
}

/// Stands in for a function that cannot be expanded.
fn stub(function: Function) -> TokenStream {
    let Function {
        attrs, vis, sig, ..
    } = function;
    let name = &sig.ident;
    let attrs = attrs.iter().filter(|attr| !is_test(attr));
    quote! {
        #(#attrs)*
        #[allow(dead_code)]
        #vis fn #name() {}
    }
}

/// Whether the item looks like a function at all (the word `fn` outside of any brackets).
fn contains_fn(item: &TokenStream) -> bool {
    item.clone()
        .into_iter()
        .any(|token| matches!(token, proc_macro2::TokenTree::Ident(word) if word == "fn"))
}

#[cfg(test)]
mod tests;
