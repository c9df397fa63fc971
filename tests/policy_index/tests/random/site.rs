//! Random sites: code, and the context that a run of it sends.

use serde_json::{Map, Value, json};

use crate::numbers::Numbers;
use crate::samples::{Sample, samples};
use crate::schema::{Action, Key, Kind, Schema};

/// A `#[protect]` function or a `#[derive(Action)]` struct.
pub(crate) struct Site {
    /// Whether it has no misfit.
    pub(crate) fits: bool,
    /// The name of the action.
    pub(crate) action: String,
    /// The code, which ends with a line break.
    pub(crate) code: String,
    /// The context that a run sends.
    pub(crate) context: Value,
}

/// The one misfit of a site or of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Misfit {
    None,
    /// A key has a value of another type.
    Value,
    /// A required key is missing.
    Missing,
    /// A key is undeclared.
    Undeclared,
}

/// A value in code.
struct Written {
    ty: String,
    code: String,
    json: Value,
}

impl Site {
    /// Returns the site of a number, which fits in half of the cases.
    pub(crate) fn random(numbers: &mut Numbers, schema: &Schema, number: usize) -> Self {
        let chosen = numbers.below(schema.0.len());
        let Action { name, keys } = &schema.0[chosen];
        let is_derived = numbers.one_in(3);
        let is_constant = numbers.one_in(3);
        let is_unknown = numbers.one_in(20);
        let misfit = match is_unknown || numbers.one_in(2) {
            true => Misfit::None,
            false => Misfit::random(numbers, keys),
        };
        let mut writer = Writer {
            numbers,
            samples: samples(),
            site: number,
            sees_literals: !is_derived,
            records: String::new(),
            count: 0,
        };
        let mut path = vec![name.clone()];
        let fields = writer.fields(keys, misfit, &mut path);
        let name = match is_unknown {
            true => "no action".to_owned(),
            false => name.clone(),
        };
        let written = match (is_constant, is_unknown) {
            (true, true) => "names::UNKNOWN".to_owned(),
            (true, false) => format!("names::A{chosen}"),
            (false, _) => format!("{name:?}"),
        };
        let code = match is_derived {
            true => derived(number, &written, &fields),
            false => protected(number, &written, &fields),
        };
        Self {
            fits: misfit == Misfit::None && !is_unknown,
            action: name,
            code: writer.records + &code,
            context: object(&fields),
        }
    }
}

impl Misfit {
    /// Returns one that is possible.
    fn random(numbers: &mut Numbers, keys: &[Key]) -> Self {
        match numbers.below(5) {
            0 if keys.iter().any(|key| key.is_required) => Self::Missing,
            1 => Self::Undeclared,
            _ => Self::Value,
        }
    }
}

fn protected(number: usize, action: &str, fields: &[(String, Written)]) -> String {
    let fields = fields
        .iter()
        .map(|(key, value)| format!("{key:?}: {},\n", value.code));
    format!(
        "#[protect(\naction = {action},\nagent = \"bot\",\ncontext = {{\n{}}},\n)]\nfn site_{number}() -> Result<(), \
         Error> {{\nOk(())\n}}\n",
        fields.collect::<String>()
    )
}

fn derived(number: usize, action: &str, fields: &[(String, Written)]) -> String {
    let fields = fields.iter().enumerate().map(|(place, (key, value))| {
        format!("#[action(rename = {key:?})]\nf{place}: {},\n", value.ty)
    });
    format!(
        "#[derive(Action)]\n#[action({action})]\nstruct Site{number} {{\n{}}}\n",
        fields.collect::<String>()
    )
}

fn object(fields: &[(String, Written)]) -> Value {
    let members = fields
        .iter()
        .map(|(key, value)| (key.clone(), value.json.clone()));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Writes the values of one site.
struct Writer<'a> {
    numbers: &'a mut Numbers,
    samples: Vec<Sample>,
    site: usize,
    /// Whether the macro sees the values, and not the types alone.
    sees_literals: bool,
    /// The structs of the site's records.
    records: String,
    count: usize,
}

impl Writer<'_> {
    /// Writes the fields of a context or of a record, with one misfit. `path` leads to it.
    fn fields(
        &mut self,
        keys: &[Key],
        misfit: Misfit,
        path: &mut Vec<String>,
    ) -> Vec<(String, Written)> {
        let required: Vec<usize> = (0..keys.len())
            .filter(|key| keys[*key].is_required)
            .collect();
        let missing = (misfit == Misfit::Missing).then(|| *self.numbers.one_of(&required));
        let wrong = (misfit == Misfit::Value).then(|| self.numbers.below(keys.len()));
        let mut fields = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let is_wrong = wrong == Some(place);
            let is_left_out = !key.is_required && !is_wrong && self.numbers.one_in(3);
            if is_left_out || missing == Some(place) {
                continue;
            }
            path.push(key.name.clone());
            let value = self.value_of(key, !is_wrong, path);
            path.pop();
            fields.push((key.name.clone(), value));
        }
        if misfit == Misfit::Undeclared {
            let value = self.value(&Kind::Bool, true, path);
            fields.push(("undeclared".to_owned(), value));
        }
        fields
    }

    /// Writes the value of a key, in an `Option` where it may be absent.
    fn value_of(&mut self, key: &Key, fits: bool, path: &mut Vec<String>) -> Written {
        if !fits && key.is_required && self.numbers.one_in(6) {
            return self.value(&key.kind, true, path).none();
        }
        let value = self.value(&key.kind, fits, path);
        match self.numbers.below(3) {
            0 if !key.is_required && fits => value.none(),
            1 if !key.is_required => value.some(),
            _ => value,
        }
    }

    fn value(&mut self, kind: &Kind, fits: bool, path: &mut Vec<String>) -> Written {
        match kind {
            // A record whose keys or values are wrong, or another value.
            Kind::Record(keys) if fits || !self.numbers.one_in(3) => self.record(keys, fits, path),
            Kind::Set(element) if !self.numbers.one_in(4) => {
                let one = self.value(element, fits, path);
                Written {
                    ty: format!("[{}; 1]", one.ty),
                    code: format!("[{}]", one.code),
                    json: json!([one.json]),
                }
            }
            Kind::Colour if !fits && self.sees_literals && self.numbers.one_in(2) => Written {
                ty: "&'static str".to_owned(),
                code: "\"pink\"".to_owned(),
                json: json!("pink"),
            },
            _ => self.sample(kind, fits, path),
        }
    }

    fn sample(&mut self, kind: &Kind, fits: bool, path: &mut Vec<String>) -> Written {
        let fitting = |sample: &&Sample| sample.fits(kind) == Some(fits);
        let samples: Vec<&Sample> = self.samples.iter().filter(fitting).collect();
        if samples.is_empty() {
            let Kind::Set(element) = kind else {
                panic!("no value for {kind}");
            };
            let one = self.value(element, fits, path);
            return Written {
                ty: format!("Vec<{}>", one.ty),
                code: format!("vec![{}]", one.code),
                json: json!([one.json]),
            };
        }
        let sample = *self.numbers.one_of(&samples);
        let code = match sample.code.starts_with('"') {
            true => sample.code.to_owned(),
            false => format!("{{ let value: {} = {}; value }}", sample.ty, sample.code),
        };
        Written {
            ty: sample.ty.to_owned(),
            code,
            json: sample.json.clone(),
        }
    }

    /// Writes a struct for a record, and its value.
    fn record(&mut self, keys: &[Key], fits: bool, path: &mut Vec<String>) -> Written {
        let misfit = match fits {
            true => Misfit::None,
            false => Misfit::random(self.numbers, keys),
        };
        // A literal inside of a struct is no value that the macro sees.
        let sees_literals = std::mem::replace(&mut self.sees_literals, false);
        let fields = self.fields(keys, misfit, path);
        self.sees_literals = sees_literals;
        let json = object(&fields);
        if fits && sees_literals && self.numbers.one_in(6) {
            return Written {
                ty: "atlasent::schema::UncheckedPolicy<serde_json::Value>".to_owned(),
                code: format!("unchecked_policy(json!({json}))"),
                json,
            };
        }
        let name = format!("Record{}_{}", self.site, self.count);
        self.count += 1;
        let path: Vec<String> = path.iter().map(|name| format!("{name:?}")).collect();
        let (mut types, mut values) = (String::new(), String::new());
        for (place, (key, value)) in fields.into_iter().enumerate() {
            types += &format!("#[serde(rename = {key:?})]\nf{place}: {},\n", value.ty);
            values += &format!("f{place}: {}, ", value.code);
        }
        self.records += &format!(
            "#[derive(Serialize, PolicyRecord)]\n#[record({})]\nstruct {name} {{\n{types}}}\n",
            path.join(", ")
        );
        Written {
            code: format!("{name} {{ {values}}}"),
            ty: name,
            json,
        }
    }
}

impl Written {
    fn some(self) -> Self {
        Self {
            ty: format!("Option<{}>", self.ty),
            code: format!("Some({})", self.code),
            json: self.json,
        }
    }

    fn none(self) -> Self {
        Self {
            code: format!("None::<{}>", self.ty),
            ty: format!("Option<{}>", self.ty),
            json: Value::Null,
        }
    }
}
