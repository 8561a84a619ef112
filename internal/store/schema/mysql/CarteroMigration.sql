CREATE TABLE `CarteroMigration` (
  `version` INTEGER NOT NULL,
  `name` VARCHAR(191) NOT NULL,
  `appliedAt` DATETIME(3) NOT NULL,
  PRIMARY KEY (`version`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
