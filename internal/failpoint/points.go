package failpoint

// Point names a place. Where it is reached for several purposes, a detail tells them apart.
type Point string

// The points of all processes. "Before" is right before a side effect; the others come when an effect has happened and
// nobody has acted on it yet.
const (
	// StoreBeforeCommit: a transaction has made its changes and is not committed. The detail says what it is for.
	StoreBeforeCommit Point = "store.beforeCommit"
	// StoreCommitted: the transaction is committed, and its caller does not know. The detail is the same.
	StoreCommitted Point = "store.committed"

	// QueueBeforeScript: a script that changes Bull's keys is about to be sent. The detail is the script's name.
	QueueBeforeScript Point = "queue.beforeScript"
	// QueueScriptDone: Redis has run the script, and its caller does not know. The detail is the same.
	QueueScriptDone Point = "queue.scriptDone"
)

// The points of the operator.
const (
	// OperatorFinalizerWritten: the API server has the finalizer; nothing is in the database.
	OperatorFinalizerWritten Point = "operator.finalizerWritten"
	// OperatorBeforeStatus: rows and queue are as the status is about to say.
	OperatorBeforeStatus Point = "operator.beforeStatus"
	// OperatorStatusWritten: the API server has the status; no event was written.
	OperatorStatusWritten Point = "operator.statusWritten"
	// OperatorBeforeRelease: what a deletion or an end takes is done; the finalizer is there.
	OperatorBeforeRelease Point = "operator.beforeRelease"
	// OperatorReleased: the finalizer is gone, and of a deleted object nothing is left.
	OperatorReleased Point = "operator.released"
)

// The points of whoever sends: the worker, and the facade for mails whose callers wait.
const (
	// WorkerJournalOpened: a claim's journal has its head; nobody is claimed.
	WorkerJournalOpened Point = "worker.journalOpened"
	// SMTPOpened: the relay has answered MAIL, RCPT and DATA; no octet of the body is on its way.
	SMTPOpened Point = "smtp.opened"
	// SMTPBodySent: the body was written as far as it goes without the final dot; nobody was asked whether it may go.
	SMTPBodySent Point = "smtp.bodySent"
	// WorkerDotJournaled: the journal has DOT; the final dot is not written.
	WorkerDotJournaled Point = "worker.dotJournaled"
	// SMTPDotSent: the final dot was handed to the network; the reply is not read.
	SMTPDotSent Point = "smtp.dotSent"
	// SMTPReplyRead: the reply to the final dot was read; it is nowhere but in memory.
	SMTPReplyRead Point = "smtp.replyRead"
	// WorkerResultJournaled: the journal has RES; the database does not know.
	WorkerResultJournaled Point = "worker.resultJournaled"
	// WorkerBeforeForgetting: everything of a claim is in the database; its journal is still there.
	WorkerBeforeForgetting Point = "worker.beforeForgetting"
	// WorkerForgotten: the claim's journal is removed.
	WorkerForgotten Point = "worker.forgotten"
	// WorkerReplaying: a dead process's journal was read, and the rows that it holds; nothing of it is recorded.
	WorkerReplaying Point = "worker.replaying"
	// WorkerReplayed: the rows have what the journal knew; the file is still there.
	WorkerReplayed Point = "worker.replayed"
)

// The points of the facade.
const (
	// FacadeAnswering: a mail is queued or sent, in the database too; the caller has no answer.
	FacadeAnswering Point = "facade.answering"
)

// Definition describes a point to whoever makes plans.
type Definition struct {
	Point Point
	// Fallible: an error there is one that the world could give. At the others only processes end, or stand still.
	Fallible bool
}

// All returns the points in the order of a campaign's life.
func All() []Definition {
	return []Definition{
		{OperatorFinalizerWritten, true},
		{StoreBeforeCommit, true},
		{StoreCommitted, true},
		{QueueBeforeScript, true},
		{QueueScriptDone, true},
		{OperatorBeforeStatus, true},
		{OperatorStatusWritten, true},
		{OperatorBeforeRelease, true},
		{OperatorReleased, true},
		{WorkerJournalOpened, true},
		{SMTPOpened, true},
		{SMTPBodySent, true},
		{WorkerDotJournaled, true},
		{SMTPDotSent, true},
		{SMTPReplyRead, false},
		{WorkerResultJournaled, true},
		{WorkerBeforeForgetting, true},
		{WorkerForgotten, true},
		{WorkerReplaying, true},
		{WorkerReplayed, true},
		{FacadeAnswering, false},
	}
}
