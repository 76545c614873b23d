ALTER TABLE orders DROP COLUMN interval;
