//! The options in the attribute's parentheses: a comma-separated list of `name = value`.
//!
//! Parsing goes on after a bad option, so that one compilation reports them all.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Expr, ExprLit, ExprPath, Lit, LitStr, Path, Token};

/// With how many seeds a simulation is run unless told otherwise.
const SEEDS: u64 = 100;

/// Which of the two attributes is being expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Test,
}

impl Kind {
    /// The attribute as its user wrote it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Kind::Main => "#[heist::main]",
            Kind::Test => "#[heist::test]",
        }
    }

    /// Every option with its form, for the message about an unknown one.
    fn valid_options(self) -> String {
        let mut forms = vec![
            "`worker_threads = N`",
            "`flavor = \"current_thread\" | \"multi_thread\"`",
            "`name = \"...\"`",
            "`start_paused = true | false`",
            "`crate = \"path\"`",
        ];
        if self == Kind::Test {
            forms.push("`timeout_ms = N`");
            forms.push("`sim`");
            forms.push("`seeds = N`");
            forms.push("`grain = \"polls\" | \"calls\" | \"steps\"`");
        }
        forms.join(", ")
    }
}

/// The options of one attribute; `None` where the runtime's default applies.
#[derive(Default)]
pub(crate) struct Options {
    worker_threads: Option<Given<usize>>,
    current_thread: Option<Given<bool>>,
    name: Option<Given<String>>,
    start_paused: Option<Given<bool>>,
    krate: Option<Given<Path>>,
    timeout_ms: Option<Given<u64>>,
    sim: Option<Given<()>>,
    seeds: Option<Given<u64>>,
    grain: Option<Given<Ident>>,
}

/// A value and the place it came from.
struct Given<T> {
    value: T,
    expr: Expr,
}

impl Options {
    /// Reads the attribute's arguments. Errors are collected in `errors`; what could be read is
    /// used.
    pub(crate) fn parse(kind: Kind, args: TokenStream, errors: &mut Errors) -> Options {
        let mut options = Options::default();
        let parser = |input: ParseStream<'_>| -> syn::Result<()> {
            while !input.is_empty() {
                let setting: Setting = input.parse()?;
                if let Err(error) = options.apply(kind, setting) {
                    errors.push(error);
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = parser.parse2(args) {
            errors.push(error);
        }
        if let (Some(threads), Some(Given { value: true, .. })) =
            (&options.worker_threads, &options.current_thread)
        {
            errors.push(syn::Error::new_spanned(
                &threads.expr,
                "`worker_threads` does not go with `flavor = \"current_thread\"`, which starts no \
                 worker threads; remove one of the two",
            ));
        }
        options.check_simulation(errors);
        options
    }

    /// What goes with a simulation, and what only with one.
    fn check_simulation(&self, errors: &mut Errors) {
        let place = |expr: Option<&Expr>| expr.map(ToTokens::to_token_stream);
        let only_real = [
            place(self.current_thread.as_ref().map(|given| &given.expr)),
            place(self.start_paused.as_ref().map(|given| &given.expr)),
            place(self.timeout_ms.as_ref().map(|given| &given.expr)),
            place(self.name.as_ref().map(|given| &given.expr)),
        ];
        let only_simulated = [
            place(self.seeds.as_ref().map(|given| &given.expr)),
            place(self.grain.as_ref().map(|given| &given.expr)),
        ];
        let (wrong, message) = match &self.sim {
            Some(_) => (
                only_real.into_iter().flatten().next(),
                "a simulation has virtual time and several workers on one thread: `flavor`, `start_paused`, `timeout_ms` and `name` do not go with `sim`",
            ),
            None => (
                only_simulated.into_iter().flatten().next(),
                "`seeds` and `grain` are options of a simulation: add `sim`",
            ),
        };
        if let Some(wrong) = wrong {
            errors.push(syn::Error::new_spanned(wrong, message));
        }
    }

    fn apply(&mut self, kind: Kind, Setting { name, value }: Setting) -> syn::Result<()> {
        let written = name.unraw().to_string();
        match written.as_str() {
            "worker_threads" => put(
                &mut self.worker_threads,
                &name,
                positive(&name, &value)?,
                &value,
            ),
            "flavor" => put(&mut self.current_thread, &name, flavor(&value)?, &value),
            "name" => put(&mut self.name, &name, thread_name(&value)?, &value),
            "start_paused" => put(
                &mut self.start_paused,
                &name,
                boolean(&name, &value)?,
                &value,
            ),
            "crate" => put(&mut self.krate, &name, path(&value)?, &value),
            "timeout_ms" if kind == Kind::Test => put(
                &mut self.timeout_ms,
                &name,
                positive(&name, &value)?,
                &value,
            ),
            "sim" if kind == Kind::Test => put(&mut self.sim, &name, flag(&name, &value)?, &value),
            "seeds" if kind == Kind::Test => {
                put(&mut self.seeds, &name, positive(&name, &value)?, &value)
            }
            "grain" if kind == Kind::Test => put(&mut self.grain, &name, grain(&value)?, &value),
            "sim" | "seeds" | "grain" => Err(syn::Error::new(
                name.span(),
                format!("`{written}` is an option of #[heist::test]"),
            )),
            "timeout_ms" => Err(syn::Error::new(
                name.span(),
                "`timeout_ms` is an option of #[heist::test]; for a limit in `main`, put \
                 `heist::timeout` around the work",
            )),
            _ => Err(syn::Error::new(
                name.span(),
                format!(
                    "unknown option `{written}`; the options of {} are {}",
                    kind.attribute(),
                    kind.valid_options()
                ),
            )),
        }
    }

    /// The path of the heist crate.
    pub(crate) fn krate(&self) -> TokenStream {
        match &self.krate {
            Some(path) => path.value.to_token_stream(),
            None => quote!(::heist),
        }
    }

    /// The expression that makes the configured builder.
    pub(crate) fn builder(&self) -> TokenStream {
        let krate = self.krate();
        let mut builder = quote!(#krate::Builder::new());
        if let Some(Given { value, .. }) = &self.worker_threads {
            builder.extend(quote!(.worker_threads(#value)));
        }
        if let Some(Given { value, .. }) = &self.name {
            builder.extend(quote!(.thread_name(#value)));
        }
        if let Some(Given { value: true, .. }) = &self.current_thread {
            builder.extend(quote!(.current_thread()));
        }
        if let Some(Given { value, .. }) = &self.start_paused {
            builder.extend(quote!(.start_paused(#value)));
        }
        builder
    }

    /// Whether the test runs in a simulation.
    pub(crate) fn is_simulated(&self) -> bool {
        self.sim.is_some()
    }

    /// The expression that makes the simulation's builder, and that of how many seeds it has.
    pub(crate) fn simulation(&self) -> (TokenStream, TokenStream) {
        let krate = self.krate();
        let mut builder = quote!(#krate::sim::Builder::new());
        if let Some(Given { value, .. }) = &self.worker_threads {
            builder.extend(quote!(.workers(#value)));
        }
        if let Some(Given { value, .. }) = &self.grain {
            builder.extend(quote!(.grain(#krate::sim::Grain::#value)));
        }
        let seeds = self.seeds.as_ref().map_or(SEEDS, |given| given.value);
        (builder, seeds.to_token_stream())
    }

    /// The expression of the hang limit, an `Option<Duration>`.
    pub(crate) fn timeout(&self) -> TokenStream {
        match &self.timeout_ms {
            Some(Given { value, .. }) => {
                quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#value)))
            }
            None => quote!(::core::option::Option::None),
        }
    }
}

/// Errors found so far. All of them are reported.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// The `compile_error!` calls; nothing if there was no error.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.0
            .as_ref()
            .map(syn::Error::to_compile_error)
            .unwrap_or_default()
    }
}

/// One `name = value`. The name may be a keyword (`crate`); the value is judged later, knowing the
/// name.
struct Setting {
    name: Ident,
    value: Expr,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Setting> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error("expected an option of the form `name = value`"));
        }
        let name = input.call(Ident::parse_any)?;
        if name == "sim" && !input.peek(Token![=]) {
            let value = syn::parse_quote_spanned!(name.span()=> true);
            return Ok(Setting { name, value });
        }
        if !input.peek(Token![=]) {
            let message = format!("expected a value: `{} = ...`", name.unraw());
            return Err(syn::Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        let value = input.parse()?;
        Ok(Setting { name, value })
    }
}

fn put<T>(slot: &mut Option<Given<T>>, name: &Ident, value: T, expr: &Expr) -> syn::Result<()> {
    if slot.is_some() {
        return Err(syn::Error::new(
            name.span(),
            format!("`{}` is set twice; remove one of them", name.unraw()),
        ));
    }
    *slot = Some(Given {
        value,
        expr: expr.clone(),
    });
    Ok(())
}

fn literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(ExprLit { attrs, lit }) if attrs.is_empty() => Some(lit),
        _ => None,
    }
}

fn string(expr: &Expr) -> Option<&LitStr> {
    match literal(expr) {
        Some(Lit::Str(string)) => Some(string),
        _ => None,
    }
}

fn positive<N>(name: &Ident, expr: &Expr) -> syn::Result<N>
where
    N: std::str::FromStr + Default + PartialEq,
    N::Err: std::fmt::Display,
{
    let Some(Lit::Int(number)) = literal(expr) else {
        return Err(syn::Error::new_spanned(
            expr,
            format!("`{name}` takes a whole number, such as `{name} = 4`"),
        ));
    };
    let value: N = number.base10_parse().map_err(|error| {
        syn::Error::new_spanned(expr, format!("`{name}` is out of range: {error}"))
    })?;
    if value == N::default() {
        return Err(syn::Error::new_spanned(
            expr,
            format!("`{name}` must be at least 1"),
        ));
    }
    Ok(value)
}

fn boolean(name: &Ident, expr: &Expr) -> syn::Result<bool> {
    match literal(expr) {
        Some(Lit::Bool(boolean)) => Ok(boolean.value),
        _ => Err(syn::Error::new_spanned(
            expr,
            format!("`{name}` takes `true` or `false`"),
        )),
    }
}

/// An option that is there or not.
fn flag(name: &Ident, expr: &Expr) -> syn::Result<()> {
    match boolean(name, expr)? {
        true => Ok(()),
        false => Err(syn::Error::new_spanned(
            expr,
            format!("leave `{name}` out instead"),
        )),
    }
}

fn grain(expr: &Expr) -> syn::Result<Ident> {
    let variant = match string(expr).map(LitStr::value).as_deref() {
        Some("polls") => "Polls",
        Some("calls") => "Calls",
        Some("steps") => "Steps",
        _ => {
            return Err(syn::Error::new_spanned(
                expr,
                "`grain` is \"polls\", \"calls\" or \"steps\"",
            ));
        }
    };
    Ok(Ident::new(variant, proc_macro2::Span::call_site()))
}

/// True for the current-thread flavor.
fn flavor(expr: &Expr) -> syn::Result<bool> {
    match string(expr).map(LitStr::value).as_deref() {
        Some("current_thread") => Ok(true),
        Some("multi_thread") => Ok(false),
        _ => Err(syn::Error::new_spanned(
            expr,
            "`flavor` is either \"current_thread\" or \"multi_thread\"",
        )),
    }
}

fn thread_name(expr: &Expr) -> syn::Result<String> {
    let Some(name) = string(expr).map(LitStr::value) else {
        return Err(syn::Error::new_spanned(
            expr,
            "`name` takes a string, such as `name = \"worker\"`",
        ));
    };
    if name.is_empty() || name.contains('\0') {
        return Err(syn::Error::new_spanned(
            expr,
            "a thread's name is not empty and contains no NUL",
        ));
    }
    Ok(name)
}

/// A path, in quotes or bare.
fn path(expr: &Expr) -> syn::Result<Path> {
    let fail =
        || syn::Error::new_spanned(expr, "`crate` takes a path, such as `crate = \"my_heist\"`");
    match expr {
        Expr::Path(ExprPath {
            attrs,
            qself: None,
            path,
        }) if attrs.is_empty() => Ok(path.clone()),
        _ => string(expr)
            .ok_or_else(fail)?
            .parse_with(Path::parse_mod_style)
            .map_err(|_| fail()),
    }
}
