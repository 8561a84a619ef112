package campaign

// JobStatus is the legacy column EmailJob.status.
type JobStatus string

// The statuses of a job, as every reader of the shared tables knows them.
const (
	JobPending    JobStatus = "PENDING"
	JobProcessing JobStatus = "PROCESSING"
	JobCompleted  JobStatus = "COMPLETED"
	// JobFailed: there were recipients and every one failed.
	JobFailed JobStatus = "FAILED"
)

// LegacyStatus is the legacy column Recipient.status.
type LegacyStatus string

// The statuses of a recipient, as every reader of the shared tables knows them.
const (
	LegacyPending LegacyStatus = "PENDING"
	LegacySent    LegacyStatus = "SENT"
	LegacyFailed  LegacyStatus = "FAILED"
)

// State is the fine state of a recipient, Cartero's own column Recipient.state.
type State string

// The states. Those from StateAccepted on are terminal.
//
//	pending → active → accepted
//	                 ↘ deferred (4xx, next attempt) → active
//	                 ↘ bounced | failed | suppressed | cancelled
//	                 ↘ inDoubt (no reply after the final dot)
const (
	StatePending    State = "pending"
	StateActive     State = "active"
	StateDeferred   State = "deferred"
	StateAccepted   State = "accepted"
	StateBounced    State = "bounced"
	StateFailed     State = "failed"
	StateSuppressed State = "suppressed"
	StateCancelled  State = "cancelled"
	StateInDoubt    State = "inDoubt"
)

// Terminal reports whether a recipient in this state will not be tried again.
func (s State) Terminal() bool {
	switch s {
	case StateAccepted, StateBounced, StateFailed, StateSuppressed, StateCancelled, StateInDoubt:
		return true
	default:
		return false
	}
}

// Legacy is what the legacy column says of a recipient in this state. A recipient whose mail may be on the wire
// (active and announced) is FAILED until the outcome is known: a legacy reader must never find it PENDING.
func (s State) Legacy() LegacyStatus {
	switch s {
	case StateAccepted:
		return LegacySent
	case StatePending, StateActive, StateDeferred:
		return LegacyPending
	default:
		return LegacyFailed
	}
}

// EffectiveState is the state of a row that a legacy program may have written: such a program changes only the legacy
// column, so a SENT or FAILED there outranks a state that still waits. announced tells that an active row's mail may
// be on the wire, which Cartero itself marks FAILED in the legacy column.
func EffectiveState(legacy LegacyStatus, state State, announced bool) State {
	switch {
	case legacy == LegacySent:
		return StateAccepted
	case legacy == LegacyFailed && state == StateActive && announced:
		return StateActive
	case legacy == LegacyFailed && !state.Terminal():
		return StateFailed
	case state == "":
		return StatePending
	default:
		return state
	}
}
