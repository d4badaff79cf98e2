//! `hookrill check`: checks the configuration as `serve` does before it starts.

use super::{Context, NegativeResult, output};
use crate::{
    access::Policy,
    config::{Config, MissingSecrets, TopicSettings},
    durable, journal,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fail if there are warnings, too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let config = context.config(MissingSecrets::Assume)?;
    refuse_file(&config)?;
    for warning in &config.warnings {
        output::status(format_args!("warning: {warning}"));
    }
    output::print(summary(&config))?;
    if args.strict && !config.warnings.is_empty() {
        return Err(NegativeResult.into());
    }
    Ok(())
}

/// The journal would not open: `serve` says the same.
fn refuse_file(config: &Config) -> anyhow::Result<()> {
    let journal::Backend::Disk { path, .. } = &config.journal.backend else {
        return Ok(());
    };
    match durable::in_the_way_of(path) {
        Some(file) => Err(journal::OpenError::NotAFolder { path: file.into() }.into()),
        None => Ok(()),
    }
}

fn summary(config: &Config) -> String {
    let source = match (&config.zero_config, &config.file) {
        (Some(zero_config), _) => format!(
            "no configuration: serve accepts every topic, with the secrets in {}",
            zero_config.folder.display()
        ),
        (None, Some(file)) => file.display().to_string(),
        (None, None) => "from environment variables alone".to_owned(),
    };
    let journal = match &config.journal.backend {
        journal::Backend::Disk { path, .. } => format!("on disk, in {}", path.display()),
        _ => "in memory: a restart loses all events".to_owned(),
    };
    let state = match config.warnings.len() {
        0 => "ok".to_owned(),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    let rows = [
        [state, source],
        ["listens on".to_owned(), config.listen.to_string()],
        ["public URL".to_owned(), config.public_url.clone()],
        ["journal".to_owned(), journal],
    ];
    format!("{}\n{}", output::table(&rows), topics(config))
}

fn topics(config: &Config) -> String {
    let mut named: Vec<_> = config
        .topics
        .named()
        .map(|(topic, settings)| match &settings.partition {
            Some(partition) => row(&format!("{topic}.{partition}"), settings),
            None => row(topic.as_str(), settings),
        })
        .collect();
    named.sort();
    let any = config.topics.any().map(|settings| row("*", settings));
    if named.is_empty() && any.is_none() {
        return "no topics are configured: every delivery and every subscription is refused\n"
            .to_owned();
    }
    let mut rows = vec![["TOPIC", "SCHEME", "ACCESS", "DUPLICATES"].map(str::to_owned)];
    rows.extend(named);
    rows.extend(any);
    output::table(&rows)
}

fn row(name: &str, topic: &TopicSettings) -> [String; 4] {
    let access = match topic.access {
        Policy::Token => "token",
        Policy::Public => "public",
    };
    let duplicates = match topic.dedup {
        None => "stored again".to_owned(),
        Some(rule) => {
            let by = rule.by.as_str();
            let window = humantime::format_duration(rule.window);
            format!("detected by {by} for {window}")
        }
    };
    let scheme = topic.scheme.to_string();
    [name.to_owned(), scheme, access.to_owned(), duplicates]
}
