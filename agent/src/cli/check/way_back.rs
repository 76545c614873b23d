//! What the files lack for a safe rollback, as far as they say it themselves. None of it keeps them from being used.

use std::path::Path;

use config::compose::Loaded;
use config::error::{Place, Problem};
use config::settings::StackSettings;

use crate::init::is_postgres_image;

/// A warning for each, about a stack of the settings at `path`.
pub(super) fn lacks(stack: &StackSettings, loaded: &Loaded, path: &Path) -> Vec<Problem> {
    let name = &stack.name;
    let warn = |key: &str, message: String, hint: String| {
        Problem::warning(Place::file(path), format!("stack.{name}.{key}"), message).hint(hint)
    };
    let mut lacking = Vec::new();
    if !has_a_tag(stack, loaded) {
        let message = "no image follows the tag: another release has the same images, and a rollback changes files alone";
        let hint =
            format!("write image: …:${{TAG}} in the Compose file, or a template in [stack.{name}.images]");
        lacking.push(warn("tag_vars", message.to_owned(), hint));
    }
    let images = loaded
        .spec
        .services
        .iter()
        .filter_map(|(service, spec)| Some((service, spec.image.as_deref()?)));
    let server = images.into_iter().find(|(_, image)| is_postgres_image(image));
    match (&stack.database, server) {
        (None, Some((service, _))) => {
            let message = format!(
                "{service} is a database, and nobody says so: where its schema stands is no part of a release"
            );
            let hint = format!(
                "add [stack.{name}.database] with service = \"{service}\": `steadfast init --print` shows it"
            );
            lacking.push(warn("database", message, hint));
        }
        (Some(database), _) if database.migrations.tool.is_none() => {
            let message =
                "no tool moves the schema: where a release has moved it, going back is refused or held";
            let hint = format!(
                "add [stack.{name}.database.migrations] with tool and service, where there are migrations"
            );
            lacking.push(warn("database.migrations", message.to_owned(), hint));
        }
        _ => {}
    }
    lacking
}

/// Whether some image follows the tag.
fn has_a_tag(stack: &StackSettings, loaded: &Loaded) -> bool {
    let by_variable = |service| {
        let mentioned = loaded.interpolated.get(service);
        mentioned.is_some_and(|all| stack.tag_vars.iter().any(|var| all.contains(var.as_str())))
    };
    loaded.spec.services.iter().any(|(service, spec)| {
        by_variable(service)
            || stack.images.contains_key(service)
            || (spec.image.is_none() && spec.build.is_some())
    })
}
