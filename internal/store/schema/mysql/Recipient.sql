CREATE TABLE `Recipient` (
  `id` VARCHAR(191) NOT NULL,
  `jobId` VARCHAR(191) NOT NULL,
  `email` VARCHAR(191) NOT NULL,
  `name` VARCHAR(191) NULL,
  `status` ENUM('PENDING', 'SENT', 'FAILED') NOT NULL DEFAULT 'PENDING',
  `error` TEXT NULL,
  `sentAt` DATETIME(3) NULL,
  INDEX `Recipient_jobId_idx` (`jobId`),
  PRIMARY KEY (`id`),
  CONSTRAINT `Recipient_jobId_fkey` FOREIGN KEY (`jobId`) REFERENCES `EmailJob` (`id`)
    ON DELETE CASCADE ON UPDATE CASCADE
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
