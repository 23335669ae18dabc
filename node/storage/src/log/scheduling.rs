use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityOsValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// From now on this thread, when it is woken, waits for its turn at a processor instead of taking it from who runs
/// (`SCHED_BATCH`, sched(7)). Who runs is most often who has woken the writer and has more to hand over: that joins the
/// group, and there are fewer of them. On a processor that is idle the thread runs at once, as before. Its niceness is 0
/// then, whatever the process was given.
///
/// Where it isn't allowed, nothing changes but the size of groups.
pub(super) fn push_nobody_aside() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let nice = ThreadPriority::Os(ThreadPriorityOsValue::default());
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), nice, policy) {
        tracing::debug!(?error, "the log's writer is scheduled as other threads are");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_scheduled_as_batch() {
        push_nobody_aside();
        let policy = thread_priority::thread_schedule_policy();
        assert_eq!(policy, Ok(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch)));
    }
}
