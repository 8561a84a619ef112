package main

const (
	workerPackage     = "./internal/worker"
	storePackage      = "./internal/store"
	controllerPackage = "./controllers"
)

// mutants are the bugs: each of them loses a mail, sends one twice, or tells an untruth.
var mutants = []mutant{
	{
		name:  "the journal learns of a dot behind it",
		edits: []edit{{"internal/worker/deliver.go", "d.task.claim.journal.dot(d.task.recipient.ID))", "nil)"}},
		pkg:   workerPackage, run: "^TestKilled$", fast: true,
	},
	{
		name: "a result is not journalled",
		edits: []edit{{
			"internal/worker/deliver.go", "c.journal.result(result)", "error(nil)",
		}},
		pkg: workerPackage, run: "^TestKilled$",
	},
	{
		name:  "the replay is ignored",
		edits: []edit{{"internal/worker/replay.go", "case known:", "case known && false:"}},
		pkg:   workerPackage, run: "^TestKilled$", fast: true,
	},
	{
		name:  "a doubt of the journal is given back",
		edits: []edit{{"internal/worker/replay.go", "case slices.Contains(j.dots, id), announced && !complete:", "case announced && !complete:"}},
		pkg:   workerPackage, run: "^TestKilled$",
	},
	{
		name:  "a journal from before the machine's restart is believed in its silence",
		edits: []edit{{"internal/worker/replay.go", "announced && !complete:", "announced && !complete && false:"}},
		pkg:   workerPackage, run: "^TestKilled$",
	},
	{
		name:  "a retry has a Message-ID of its own",
		edits: []edit{{"internal/worker/compose.go", "campaign.MessageID(t.run.job.ID,", "campaign.MessageID(t.run.job.ID+fmt.Sprint(t.recipient.Attempts),"}},
		pkg:   workerPackage, run: "^TestRetryIsTheSameMail$", fast: true,
	},
	{
		name:  "a retry has a Date of its own",
		edits: []edit{{"internal/worker/compose.go", "t.run.job.CreatedAt,", "w.cfg.Now(),"}},
		pkg:   workerPackage, run: "^TestRetryIsTheSameMail$",
	},
	{
		name:  "a mail is tried again after a dot without a reply",
		edits: []edit{{"internal/worker/decide.go", "if policy.InDoubt {", "if policy.InDoubt || true {"}},
		pkg:   workerPackage, run: "^TestDecide$", fast: true,
	},
	{
		name:  "a refused sender fails its recipients",
		edits: []edit{{"internal/worker/decide.go", "case v.Scope == mail.ScopeSender:", "case v.Scope == mail.ScopeSender && false:"}},
		pkg:   workerPackage, run: "^TestDecide$",
	},
	{
		name:  "a dot goes out under a lease that has run out",
		edits: []edit{{"internal/worker/deliver.go", "switch now := d.w.cfg.Now(); {\n\tcase !d.task.claim.valid(now):", "switch now := d.w.cfg.Now(); {\n\tcase false:"}},
		pkg:   workerPackage, run: "^TestLeaseRunsOutBeforeTheDot$",
	},
	{
		name:  "nobody is announced with the claim",
		edits: []edit{{"internal/worker/window.go", "Announce: announce,", "Announce: announce && !announce,"}},
		pkg:   workerPackage, run: "^TestKilledWithItsNode$",
	},
	{
		name: "nobody is announced when their turn comes",
		edits: []edit{{
			"internal/worker/executor.go", "allowed, err := r.w.cfg.Store.Announce(ctx, c.token, ids, r.w.cfg.Now())", "allowed, err := ids, ctx.Err()",
		}},
		pkg: workerPackage, run: "^TestPacedMailsAreAnnouncedOneByOne$",
	},
	{
		name:  "a job is over for the queue before its results are in the database",
		edits: []edit{{"internal/worker/executor.go", "case <-c.done:", "case <-func() chan struct{} { d := make(chan struct{}); close(d); return d }():\n\t\t\t_ = c"}},
		pkg:   workerPackage, run: "^(TestSendsEverybodyOnce|TestVerdictsBecomeRows|TestDatabaseAwayInTheMiddle)$",
	},
	{
		name:  "the suspension is not looked at",
		edits: []edit{{"internal/campaign/control.go", "return !c.Suspended && ", "return "}},
		pkg:   workerPackage, run: "^(TestStopsWithinTwoSeconds|TestJobsThatMayNotRunAreGivenBack)$",
	},
	{
		name:  "bounces count twice for the abort policy",
		edits: []edit{{"internal/worker/guard.go", "s.ended.Bounced++", "s.ended.Bounced += 2"}},
		pkg:   workerPackage, run: "^(TestGuardCounts|TestAbortPolicy)$",
	},
	{
		name:  "a worker starts to send before it has replayed",
		edits: []edit{{"internal/worker/replay.go", "held, err := store.Held(ctx, j.token)", "held, err := map[string]bool{}, error(nil)"}},
		pkg:   workerPackage, run: "^TestKilled$",
	},
	{
		name:  "a result is recorded under any token",
		edits: []edit{{"internal/store/record.go", "lockLeased(tx, ids, \"`leaseToken` = ?\", token)", "lockLeased(tx, ids, \"? <> ''\", token)"}},
		pkg:   storePackage, run: "^TestSQLite$", fast: true,
	},
	{
		name:  "a recipient is announced under any token",
		edits: []edit{{"internal/store/claim.go", "`id` IN ? AND `leaseToken` = ? AND `state` = ?\"", "`id` IN ? AND ? <> '' AND `state` = ?\""}},
		pkg:   storePackage, run: "^TestSQLite$",
	},
	{
		name:  "who is announced counts as sent before the dot",
		edits: []edit{{"internal/store/window.go", "\"status\": campaign.LegacyFailed, \"error\": announcedError", "\"status\": campaign.LegacySent, \"error\": announcedError"}},
		pkg:   storePackage, run: "^TestSQLite$",
	},
	{
		name:  "who is announced waits in the eyes of a legacy reader",
		edits: []edit{{"internal/store/window.go", "\"status\": campaign.LegacyFailed, \"error\": announcedError", "\"status\": campaign.LegacyPending, \"error\": announcedError"}},
		pkg:   storePackage, run: "^TestSQLite$",
	},
	{
		name:  "a list is sealed before its last shard is written",
		edits: []edit{{"internal/store/ledger.go", "if jobs != totals.Jobs || recipients != totals.Recipients {", "if jobs > totals.Jobs {"}},
		pkg:   storePackage, run: "^TestSQLite$", fast: true,
	},
	{
		name:  "jobs of a campaign that is not sealed are taken",
		edits: []edit{{"internal/campaign/delivery.go", "return j.Sealed && !j.Cancelled", "return !j.Cancelled"}},
		pkg:   "./internal/campaign", run: "^TestRunnable$", fast: true,
	},
	{
		name:  "a lease that is renewed is taken all the same",
		edits: []edit{{"internal/store/lease.go", "if err != nil || len(current) == 0 {", "if err != nil {"}},
		pkg:   storePackage, run: "^TestRenewedWhileItIsRescued$", services: true,
	},
	{
		name:  "whose lease others have ended goes on sending",
		edits: []edit{{"internal/worker/leases.go", "} else if taken[i] && !c.allRecorded() {", "} else if taken[i] && c.allRecorded() {"}},
		pkg:   "./internal/worker", run: "^TestALeaseThatOthersHaveEnded$", fast: true,
	},
	{
		name:  "a lease is ended by the machine's clock",
		edits: []edit{{"internal/store/clock.go", "if s.engine == engineSQLite {", "if s.engine != \"\" {"}},
		pkg:   storePackage, run: "^TestLeasesGoByTheDatabaseTime$", services: true,
	},
	{
		name:  "a doubt loses its token",
		edits: []edit{{"internal/store/record.go", "r.Category = orNull(cmp.Or(deref(r.Category), mail.CategoryInDoubt))\n\t\treturn", "r.Category = orNull(cmp.Or(deref(r.Category), mail.CategoryInDoubt))"}},
		pkg:   storePackage, run: "^TestSQLite$",
	},
	{
		name:  "a job that is rung again has the same id in the queue",
		edits: []edit{{"internal/campaign/ids.go", "if ring == 0 {", "if ring >= 0 {"}},
		pkg:   "./internal/campaign", run: "^TestIDsAreDerived$", fast: true,
	},
	{
		name: "a ring is remembered before it is rung",
		edits: []edit{{
			"internal/outbox/ring.go", "\tif err := o.cfg.Queue.Ring(ctx, rings); err != nil {",
			"\tif err := o.cfg.Store.MarkRung(ctx, lost, now); err != nil {\n\t\treturn err\n\t}\n\tif err := o.cfg.Queue.Ring(ctx, rings); err != nil {",
		}},
		pkg: "./internal/outbox", run: ".", fast: true,
	},
	{
		name:  "after an error in DATA the connection says goodbye, which ends the mail",
		edits: []edit{{"internal/mail/smtp/conn.go", "\thardClose(c.tcp)\n", "\t_, _ = c.tcp.Write([]byte(\"\\r\\n.\\r\\nQUIT\\r\\n\"))\n\thardClose(c.tcp)\n"}},
		pkg:   "./internal/mail/smtp", run: "^(TestTruncatedMail|TestCancelBeforeTheDot|TestTrapsOfGoMail|TestPanicBeforeTheDotLeavesNothingBehind)$",
	},
	{
		name:  "an Idempotency-Key counts for nothing",
		edits: []edit{{"internal/facade/idempotency.go", "if idempotency == \"\" {", "if idempotency != \"-\" {"}},
		pkg:   "./internal/facade", run: "Idempoten",
	},
	{
		name: "the finalizer goes before the campaign is cancelled",
		edits: []edit{{
			"controllers/delete.go", "\tvar told *notice\n\terr := guarded(", "\tif err := r.removeFinalizer(ctx, s.object); err != nil {\n\t\treturn ctrl.Result{}, err\n\t}\n\tvar told *notice\n\terr := guarded(",
		}},
		pkg: controllerPackage, run: "^(TestKilledAtAnyPointOfALife|TestDeletionWithoutDatabase)$", services: true,
	},
}
