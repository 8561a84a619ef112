package store

import "strconv"

// migrations are the versions of the schema, oldest first. A version that was released never changes: what comes later
// is a new version, and it only adds nullable or defaulted columns, indexes, and tables of Cartero's own, so that a
// client generated from the legacy schema keeps working before, during and after.
var migrations = []migration{
	{version: 1, name: "legacy tables", steps: []step{
		createTable{"EmailJob"},
		createTable{"Recipient"},
		createIndex{table: "Recipient", name: "Recipient_jobId_idx", columns: "`jobId`"},
	}},
	{version: 2, name: "campaigns and delivery state", steps: []step{
		createTable{"Campaign"},
		createTable{"Lease"},
		addColumns{"EmailJob", []column{
			{"campaignKey", "VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL", "TEXT NULL"},
			{"shard", "INTEGER NULL", "INTEGER NULL"},
			{"rings", "INTEGER NOT NULL DEFAULT 0", "INTEGER NOT NULL DEFAULT 0"},
			{"rungAt", "DATETIME(3) NULL", "DATETIME NULL"},
		}},
		addColumns{"Recipient", []column{
			{"state", asciiColumn(16), "TEXT NULL"},
			{"attempts", "INTEGER NOT NULL DEFAULT 0", "INTEGER NOT NULL DEFAULT 0"},
			{"firstAttemptAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"nextAttemptAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"leaseToken", asciiColumn(64), "TEXT NULL"},
			{"announcedAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"completedAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"smtpCode", "INTEGER NULL", "INTEGER NULL"},
			{"enhancedCode", asciiColumn(16), "TEXT NULL"},
			{"category", asciiColumn(32), "TEXT NULL"},
			{"variables", "MEDIUMTEXT NULL", "TEXT NULL"},
			{"address", "VARCHAR(320) NULL", "TEXT NULL"},
		}},
		createIndex{table: "EmailJob", name: "EmailJob_campaignKey_shard_key", columns: "`campaignKey`, `shard`", unique: true},
		createIndex{table: "EmailJob", name: "EmailJob_status_rungAt_idx", columns: "`status`, `rungAt`"},
		// The only index that a mail on its way moves in, twice: neither an announcement nor a renewed lease is in it.
		createIndex{table: "Recipient", name: stateIndex, columns: "`jobId`, `state`, `nextAttemptAt`, `id`, `completedAt`"},
	}},
	{version: 3, name: "submissions", steps: []step{
		addColumns{"Campaign", []column{
			{"category", "VARCHAR(191) NOT NULL DEFAULT ''", "TEXT NOT NULL DEFAULT ''"},
			{"priority", "INTEGER NOT NULL DEFAULT 0", "INTEGER NOT NULL DEFAULT 0"},
		}},
	}},
	{version: 4, name: "record of sends", steps: []step{
		// In SQLite, who is still to be tried for the first time is in neither: writing a list costs nothing more.
		createIndex{
			table: "Recipient", name: emailIndex, columns: "`email`",
			sqlite: "(`email` COLLATE NOCASE) WHERE `attempts` > 0 OR `status` <> 'PENDING'",
		},
		createIndex{
			table: "Recipient", name: attemptIndex, columns: "`firstAttemptAt`",
			sqlite: "(`firstAttemptAt`) WHERE `firstAttemptAt` IS NOT NULL",
		},
		createIndex{table: "Campaign", name: sealIndex, columns: "`origin`, `sealedAt`"},
	}},
	{version: 5, name: "steering", steps: []step{
		addColumns{"Campaign", []column{
			{"owner", "VARCHAR(191) NOT NULL DEFAULT ''", "TEXT NOT NULL DEFAULT ''"},
			{"ownerSeenAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"revision", "INTEGER NOT NULL DEFAULT 0", "INTEGER NOT NULL DEFAULT 0"},
			{"opensAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"closesAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"startBefore", "DATETIME(3) NULL", "DATETIME NULL"},
			{"steeredAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"suspendedAt", "DATETIME(3) NULL", "DATETIME NULL"},
			{"endReason", "VARCHAR(64) NOT NULL DEFAULT ''", "TEXT NOT NULL DEFAULT ''"},
			// What no query decides on: policy, idle time, base of the abort policy, verbs.
			{"steering", "MEDIUMTEXT NULL", "TEXT NULL"},
			// The entries of the list that were left out, by reason; NULL where no version noted them.
			{"dropped", "MEDIUMTEXT NULL", "TEXT NULL"},
		}},
	}},
	{version: 6, name: "suppression", steps: []step{
		createTable{"Suppression"},
		createTable{"FullMailbox"},
		createIndex{table: "FullMailbox", name: "FullMailbox_last_idx", columns: "`last`"},
		addColumns{"Campaign", []column{
			// Whether the campaign respects the list, and which list it goes to: also in its content, which no claim reads.
			{"suppress", "BOOLEAN NOT NULL DEFAULT FALSE", "BOOLEAN NOT NULL DEFAULT FALSE"},
			{"listId", "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''", "TEXT NOT NULL DEFAULT ''"},
		}},
	}},
	{version: 7, name: "who opened a campaign", steps: []step{
		addColumns{"Campaign", []column{
			{"createdBy", "VARCHAR(191) NOT NULL DEFAULT ''", "TEXT NOT NULL DEFAULT ''"},
		}},
	}},
}

// stateIndex is the index that claims read in the order of ids, and tallies alone.
const stateIndex = "Recipient_jobId_state_idx"

// schemaVersion is the version that this program works with.
func schemaVersion() int { return migrations[len(migrations)-1].version }

// asciiColumn is the MySQL type of a nullable column of words that the engine writes: compared byte by byte, and short
// in an index.
func asciiColumn(length int) string {
	return "VARCHAR(" + strconv.Itoa(length) + ") CHARACTER SET ascii COLLATE ascii_bin NULL"
}
