CREATE TABLE `EmailJob` (
  `id` TEXT NOT NULL PRIMARY KEY,
  `subject` TEXT NOT NULL,
  `body` TEXT NOT NULL,
  `status` TEXT NOT NULL DEFAULT 'PENDING' CHECK (`status` IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')),
  `totalEmails` INTEGER NOT NULL DEFAULT 0,
  `sentEmails` INTEGER NOT NULL DEFAULT 0,
  `failedEmails` INTEGER NOT NULL DEFAULT 0,
  `createdAt` DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
  `startedAt` DATETIME NULL,
  `completedAt` DATETIME NULL
)
