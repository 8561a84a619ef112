CREATE TABLE `FullMailbox` (
  `address` VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `refusals` INTEGER NOT NULL,
  `since` DATETIME(3) NOT NULL,
  `last` DATETIME(3) NOT NULL,
  PRIMARY KEY (`address`)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
