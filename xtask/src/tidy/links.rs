//! Relative links in Markdown lead to something that exists.

/// One finding for each link that leads nowhere; `exists` answers for a path from the root.
pub(crate) fn check(path: &str, content: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in content.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        if mark.is_some() && (fence.is_none() || fence == mark) {
            fence = if fence.is_none() { mark } else { None };
            continue;
        }
        if fence.is_some() {
            continue;
        }
        for target in targets(&without_code(line)) {
            if let Some(file) = resolve(folder, &target)
                && !exists(&file)
            {
                found.push(format!("{path}:{}: the link to {target} leads nowhere", index + 1));
            }
        }
    }
    found
}

/// The line with its `code spans` blanked out.
fn without_code(line: &str) -> String {
    let mut parts = line.split('`');
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut inside = true;
    for part in parts {
        out.push_str(if inside { "``" } else { part });
        inside = !inside;
    }
    out
}

/// What `[text](target "title")`, `![alt](target)` and `[name]: target` point at.
fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        found.extend(target(&line[at + 2..]));
    }
    let line = line.trim_start();
    // `[^1]: text` is a footnote
    if line.starts_with('[')
        && !line.starts_with("[^")
        && let Some((name, rest)) = line.split_once("]:")
        && !name[1..].contains(['[', ']'])
    {
        found.extend(target(rest.trim_start()));
    }
    found
}

fn target(rest: &str) -> Option<String> {
    let text = match rest.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.0,
        None => rest.split([')', ' ', '\t']).next()?,
    };
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The file that a relative target names, from the root; `None` for an address or an anchor.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let file = target.split(['#', '?']).next()?;
    let scheme = file.split_once(':').is_some_and(|(scheme, _)| {
        scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    if file.is_empty() || scheme || file.starts_with("//") {
        return None;
    }
    let mut parts: Vec<&str> = match file.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in file.split('/') {
        match part {
            "" | "." => {}
            // above the root is outside of the tree: keep it, it can't exist there
            ".." if parts.pop().is_none() => return Some(file.to_owned()),
            ".." => {}
            name => parts.push(name),
        }
    }
    Some(parts.join("/").replace("%20", " "))
}
