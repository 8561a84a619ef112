CREATE TABLE `CarteroMigration` (
  `version` INTEGER NOT NULL PRIMARY KEY,
  `name` TEXT NOT NULL,
  `appliedAt` DATETIME NOT NULL
)
