CREATE TABLE `Suppression` (
  `address` TEXT NOT NULL,
  `scope` TEXT NOT NULL DEFAULT '',
  `reason` TEXT NOT NULL,
  `source` TEXT NOT NULL DEFAULT '',
  `createdAt` DATETIME NOT NULL,
  PRIMARY KEY (`address`, `scope`)
) WITHOUT ROWID
