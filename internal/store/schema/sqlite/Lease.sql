CREATE TABLE `Lease` (
  `token` TEXT NOT NULL,
  `jobId` TEXT NOT NULL,
  `until` DATETIME NULL,
  PRIMARY KEY (`token`, `jobId`)
) WITHOUT ROWID
