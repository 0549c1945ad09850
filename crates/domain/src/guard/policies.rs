//! Which numbers hold for whom: those of the installation, and what tenants and integrations change in them.

use crate::attempts::{Budget, Budgets, Lane};
use crate::number::{DEFAULT_DIGITS, MAX_DIGITS};

use super::bound::{Derived, Fixed, derive};
use super::origin::Familiarity;
use super::policy::{Knob, Policy, PolicyError};

/// Tables of tenants, and as many of integrations, that a policy may have: every pair is worked out at the start.
pub const MAX_TABLES: usize = 32;
/// Digits that the profile `familiar` may ask of known places.
pub const FAMILIAR_DIGITS: std::ops::RangeInclusive<u8> = 2..=3;
/// Consecutive wrong codes that all lanes may allow together (NIST 800-63B-4 §3.2.2).
const MAX_CAPS: u32 = 100;
/// Success bounds that can be asked for, per user and year.
const SUCCESS: std::ops::RangeInclusive<f64> = 1e-9..=0.1;

/// How many digits known places are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// As many as all others.
    #[default]
    Standard,
    /// Two or three. Doesn't conform to NIST 800-63B-4 §3.1.3.2, which wants six.
    Familiar,
}

impl Profile {
    /// Its name in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Familiar => "familiar",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Standard, Self::Familiar].into_iter().find(|profile| profile.name() == name)
    }
}

/// One number of a lane's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tries {
    /// Consecutive failures.
    Cap,
    /// At once, of the day's.
    DayBurst,
    /// That come back in a day.
    DayRefill,
    /// At once, of the month's.
    MonthBurst,
    /// That come back in 30 days.
    MonthRefill,
}

/// One number of a lane's budget, described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetKnob {
    /// Whose tries.
    pub lane: Lane,
    /// Which.
    pub tries: Tries,
    /// Its default.
    pub default: u16,
    /// The largest value that makes sense; the smallest is one.
    pub max: u16,
}

impl Tries {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Cap, Self::DayBurst, Self::DayRefill, Self::MonthBurst, Self::MonthRefill];

    /// Its name within a lane's table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::DayBurst => "day.burst",
            Self::DayRefill => "day.refill",
            Self::MonthBurst => "month.burst",
            Self::MonthRefill => "month.refill",
        }
    }

    /// Why there is such a number.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Cap => {
                "Consecutive failures after which the lane is dead until a code passes in another, or the \
                 factor is bound anew. All caps together: at most 100 (NIST 800-63B-4 §3.2.2)."
            }
            Self::DayBurst => "Failures that a day allows at once.",
            Self::DayRefill => "Failures that come back in a day, evenly.",
            Self::MonthBurst => "Failures that 30 days allow at once.",
            Self::MonthRefill => {
                "Failures that come back in 30 days, evenly. No success gives them back, so that riding on \
                 somebody who signs in daily buys nothing."
            }
        }
    }

    const fn max(self) -> u16 {
        match self {
            Self::Cap => 97,
            Self::DayBurst | Self::DayRefill => 50,
            Self::MonthBurst | Self::MonthRefill => 200,
        }
    }

    const fn of(self, budget: &Budget) -> u16 {
        match self {
            Self::Cap => budget.cap,
            Self::DayBurst => budget.day.burst,
            Self::DayRefill => budget.day.refill,
            Self::MonthBurst => budget.month.burst,
            Self::MonthRefill => budget.month.refill,
        }
    }

    const fn set(self, budget: &mut Budget, value: u16) {
        match self {
            Self::Cap => budget.cap = value,
            Self::DayBurst => budget.day.burst = value,
            Self::DayRefill => budget.day.refill = value,
            Self::MonthBurst => budget.month.burst = value,
            Self::MonthRefill => budget.month.refill = value,
        }
    }
}

impl BudgetKnob {
    /// All of them, by lane.
    pub fn all() -> impl Iterator<Item = Self> {
        Lane::ALL.into_iter().flat_map(|lane| {
            Tries::ALL.into_iter().map(move |tries| Self {
                lane,
                tries,
                default: tries.of(Budgets::DEFAULT.of(lane)),
                max: tries.max(),
            })
        })
    }

    /// Its name in a policy.
    #[must_use]
    pub fn name(&self) -> String {
        format!("codes.{}.{}", self.lane.name(), self.tries.name())
    }
}

impl Lane {
    /// Its name in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Unknown => "unknown",
            Self::Nowhere => "nowhere",
            Self::Withheld => "withheld",
        }
    }
}

/// One setting of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// A number of the guard.
    Number(&'static Knob, f32),
    /// A number of a lane's budget.
    Budget(Lane, Tries, u16),
    /// How many digits a number has.
    Digits(u8),
    /// How many digits known places are asked for.
    Profile(Profile),
    /// How many, under the profile `familiar`.
    FamiliarDigits(u8),
    /// What whoever has the password may succeed with, per user and year.
    SuccessBound(f64),
}

/// Everything that holds for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The guard's numbers.
    pub policy: Policy,
    /// What the lanes of TOTP codes allow.
    pub budgets: Budgets,
    /// Digits of a number.
    pub digits: u8,
    /// What known places are asked for.
    pub profile: Profile,
    /// Digits under the profile `familiar`.
    pub familiar_digits: u8,
    /// The success bound that was asked for.
    pub success_bound: Option<f64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            budgets: Budgets::DEFAULT,
            digits: DEFAULT_DIGITS,
            profile: Profile::default(),
            familiar_digits: *FAMILIAR_DIGITS.end(),
            success_bound: None,
        }
    }
}

/// Something that can't hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each is")]
pub enum RulesError {
    #[error(transparent)]
    Number(#[from] PolicyError),
    #[error("{name} is {value} tries; it must be from 1 to {max}")]
    Budget { name: String, value: u16, max: u16 },
    #[error(
        "codes: the caps of all lanes together are {0} tries; they must be at most {MAX_CAPS} (NIST 800-63B-4 \
         §3.2.2)"
    )]
    Caps(u32),
    #[error("digits is {0} digits; it must be from {DEFAULT_DIGITS} to {MAX_DIGITS}")]
    Digits(u8),
    #[error(
        "familiar_digits is {0} digits; it must be from {min} to {max}",
        min = FAMILIAR_DIGITS.start(),
        max = FAMILIAR_DIGITS.end()
    )]
    FamiliarDigits(u8),
    #[error("familiar_digits needs profile = \"familiar\"")]
    NotFamiliar,
    #[error(
        "success_bound is {0} per user and year; it must be from {min} to {max}",
        min = SUCCESS.start(),
        max = SUCCESS.end()
    )]
    SuccessBound(f64),
    #[error(
        "success_bound is {asked} per user and year; with the other numbers the least that can be met is {least:.1e}"
    )]
    Unmet { asked: f64, least: f64 },
}

impl Rules {
    /// The defaults with changes, the later winning. Where a success bound is asked for, digits and the month's
    /// budgets of codes from elsewhere follow from it, unless they are set.
    ///
    /// # Errors
    /// The first number that can't hold.
    pub fn with<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Result<Self, RulesError> {
        let mut rules = Self::default();
        let (mut asked, mut allowed) = (false, false);
        let mut fixed = Fixed::default();
        for change in changes {
            match *change {
                Change::Number(knob, value) => {
                    rules.policy.set(knob.name, value);
                }
                Change::Budget(lane, tries, value) => {
                    let month = matches!(tries, Tries::MonthBurst | Tries::MonthRefill);
                    fixed.unknown |= month && lane == Lane::Unknown;
                    fixed.nowhere |= month && lane == Lane::Nowhere;
                    let budgets = &mut rules.budgets;
                    let budget = match lane {
                        Lane::Own => &mut budgets.own,
                        Lane::Unknown => &mut budgets.unknown,
                        Lane::Nowhere => &mut budgets.nowhere,
                        Lane::Withheld => &mut budgets.withheld,
                    };
                    tries.set(budget, value);
                }
                Change::Digits(digits) => {
                    rules.digits = digits;
                    fixed.digits = true;
                }
                Change::Profile(profile) => {
                    rules.profile = profile;
                    // a table may well take back what stands above it
                    allowed |= profile == Profile::Familiar;
                }
                Change::FamiliarDigits(digits) => {
                    rules.familiar_digits = digits;
                    asked = true;
                }
                Change::SuccessBound(bound) => rules.success_bound = Some(bound),
            }
        }
        rules.check()?;
        if asked && !allowed {
            return Err(RulesError::NotFamiliar);
        }
        rules.meet(fixed)?;
        Ok(rules)
    }

    /// Works out what the success bound leaves open.
    fn meet(&mut self, fixed: Fixed) -> Result<(), RulesError> {
        let Some(asked) = self.success_bound else { return Ok(()) };
        let Derived { digits, unknown, nowhere } =
            derive(self, fixed, asked).map_err(|least| RulesError::Unmet { asked, least })?;
        self.digits = digits;
        self.budgets.unknown.month = unknown;
        self.budgets.nowhere.month = nowhere;
        Ok(())
    }

    /// Checks every number against its bounds.
    ///
    /// # Errors
    /// The first that can't hold.
    pub fn check(&self) -> Result<(), RulesError> {
        self.policy.check()?;
        for knob in BudgetKnob::all() {
            let value = knob.tries.of(self.budgets.of(knob.lane));
            if !(1..=knob.max).contains(&value) {
                return Err(RulesError::Budget { name: knob.name(), value, max: knob.max });
            }
        }
        if self.budgets.caps() > MAX_CAPS {
            return Err(RulesError::Caps(self.budgets.caps()));
        }
        if !(DEFAULT_DIGITS..=MAX_DIGITS).contains(&self.digits) {
            return Err(RulesError::Digits(self.digits));
        }
        if !FAMILIAR_DIGITS.contains(&self.familiar_digits) {
            return Err(RulesError::FamiliarDigits(self.familiar_digits));
        }
        match self.success_bound {
            Some(bound) if !SUCCESS.contains(&bound) => Err(RulesError::SuccessBound(bound)),
            _ => Ok(()),
        }
    }

    /// How many digits a number has for a request from there. Never depends on how alarmed the guard is: nobody
    /// outside can tell that from the page.
    #[must_use]
    pub fn digits_for(&self, familiarity: Familiarity) -> u8 {
        let short = self.profile == Profile::Familiar && familiarity.is_known();
        if short { self.familiar_digits } else { self.digits }
    }

    /// A number of a lane's budget.
    #[must_use]
    pub const fn tries(&self, lane: Lane, tries: Tries) -> u16 {
        tries.of(self.budgets.of(lane))
    }
}

/// Somebody, as a policy may name them.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// By id.
    pub id: &'a str,
    /// By name.
    pub name: &'a str,
}

/// What a tenant's or an integration's table changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The id or name that it stands under.
    pub of: String,
    /// What it says.
    pub changes: Vec<Change>,
}

/// Where in a policy something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Above all tables.
    Top,
    /// In a tenant's table.
    Tenant(String),
    /// In an integration's table, alone or on top of a tenant's.
    Integration(String),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Tenant(name) => write!(f, "tenants.{name}: "),
            Self::Integration(name) => write!(f, "integrations.{name}: "),
        }
    }
}

/// The rules of everybody, worked out once.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    tenants: Vec<String>,
    integrations: Vec<String>,
    /// A row for nobody's table and one for each tenant's; in each, a column for nobody's and each integration's.
    rules: Vec<Rules>,
}

impl Default for Policies {
    fn default() -> Self {
        Self::from(Rules::default())
    }
}

impl From<Rules> for Policies {
    fn from(rules: Rules) -> Self {
        Self { tenants: Vec::new(), integrations: Vec::new(), rules: vec![rules] }
    }
}

impl Policies {
    /// Works out what holds for each pair of a tenant and an integration. An integration's table stands above
    /// its tenant's.
    ///
    /// # Errors
    /// The first number that can't hold, and where it is set.
    pub fn new(
        top: &[Change],
        tenants: Vec<Table>,
        integrations: Vec<Table>,
    ) -> Result<Self, (Part, RulesError)> {
        let none = Table::default();
        let mut rules = Vec::with_capacity((tenants.len() + 1) * (integrations.len() + 1));
        for tenant in std::iter::once(&none).chain(&tenants) {
            for integration in std::iter::once(&none).chain(&integrations) {
                let all = top.iter().chain(&tenant.changes).chain(&integration.changes);
                rules.push(Rules::with(all).map_err(|error| {
                    let part = match (tenant.of.as_str(), integration.of.as_str()) {
                        ("", "") => Part::Top,
                        (name, "") => Part::Tenant(name.to_owned()),
                        (_, name) => Part::Integration(name.to_owned()),
                    };
                    (part, error)
                })?);
            }
        }
        let names = |tables: Vec<Table>| tables.into_iter().map(|table| table.of).collect();
        Ok(Self { tenants: names(tenants), integrations: names(integrations), rules })
    }

    /// What holds where no table says otherwise.
    #[must_use]
    pub fn base(&self) -> &Rules {
        &self.rules[0]
    }

    /// Whether the same holds for everybody.
    #[must_use]
    pub fn are_one(&self) -> bool {
        self.rules.len() == 1
    }

    /// Which rules hold for an integration of a tenant, or for what concerns no integration, to be looked up
    /// [`at`](Self::at) that place.
    #[must_use]
    pub fn place(&self, tenant: Who<'_>, integration: Option<Who<'_>>) -> usize {
        let find = |names: &[String], who: Who<'_>| {
            let by = |wanted: &str| names.iter().position(|name| name == wanted);
            by(who.id).or_else(|| by(who.name)).map_or(0, |at| at + 1)
        };
        let row = find(&self.tenants, tenant);
        let column = integration.map_or(0, |who| find(&self.integrations, who));
        row * (self.integrations.len() + 1) + column
    }

    /// The rules in a place.
    #[must_use]
    pub fn at(&self, place: usize) -> &Rules {
        self.rules.get(place).unwrap_or(&self.rules[0])
    }

    /// The rules that hold for an integration of a tenant.
    #[must_use]
    pub fn of(&self, tenant: Who<'_>, integration: Who<'_>) -> &Rules {
        self.at(self.place(tenant, Some(integration)))
    }

    /// The ids or names of tenants and integrations that have tables of their own.
    #[must_use]
    pub fn tables(&self) -> (&[String], &[String]) {
        (&self.tenants, &self.integrations)
    }

    /// Whether anybody is asked for fewer digits than NIST wants.
    #[must_use]
    pub fn has_familiar(&self) -> bool {
        self.rules.iter().any(|rules| rules.profile == Profile::Familiar)
    }
}

#[cfg(test)]
mod tests;
