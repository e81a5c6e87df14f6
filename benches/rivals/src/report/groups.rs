//! Which question a workload belongs to. A mean is taken within a group, never across.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Group {
    /// Tasks, wake-ups, timers, what tasks share, threads outside.
    Scheduling,
    /// Sockets.
    Io,
    /// Bytes per task.
    Memory,
    /// The same operation beside ever more tasks or timers.
    Growth,
}

impl Group {
    pub(super) const ALL: [Self; 4] = [Self::Scheduling, Self::Io, Self::Memory, Self::Growth];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Scheduling => "Scheduling",
            Self::Io => "I/O",
            Self::Memory => "Memory",
            Self::Growth => "Growth",
        }
    }
}

/// A workload is told by its name: those on sockets begin with what they serve, and so on.
pub(super) fn group_of(name: &str) -> Group {
    const SOCKETS: [&str; 4] = ["echo_", "http_", "churn", "idle_"];
    if name.starts_with("growth_") {
        Group::Growth
    } else if SOCKETS.iter().any(|prefix| name.starts_with(prefix)) {
        Group::Io
    } else if name.ends_with("_bytes") {
        Group::Memory
    } else {
        Group::Scheduling
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload_list;

    #[test]
    fn the_workloads_fall_into_their_groups() {
        for (name, group) in [
            ("spawn_local", Group::Scheduling),
            ("timer_live", Group::Scheduling),
            ("echo_1000", Group::Io),
            ("churn", Group::Io),
            ("sleeping_bytes", Group::Memory),
            ("growth_echo_10k", Group::Growth),
        ] {
            assert_eq!(group_of(name), group, "{name}");
        }
    }

    #[test]
    fn what_serves_requests_is_about_sockets() {
        for workload in workload_list() {
            if workload.figures.iter().any(|figure| figure.unit == "req/s") {
                let group = group_of(workload.name);
                assert!(
                    [Group::Io, Group::Growth].contains(&group),
                    "{}",
                    workload.name
                );
            }
        }
    }
}
