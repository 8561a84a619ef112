CREATE TABLE `Suppression` (
  `address` VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `scope` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  `reason` VARCHAR(32) NOT NULL,
  `source` VARCHAR(320) NOT NULL DEFAULT '',
  `createdAt` DATETIME(3) NOT NULL,
  PRIMARY KEY (`address`, `scope`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
