CREATE TABLE `Lease` (
  `token` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `jobId` VARCHAR(191) NOT NULL,
  `until` DATETIME(3) NULL,
  PRIMARY KEY (`token`, `jobId`),
  INDEX `Lease_jobId_idx` (`jobId`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
