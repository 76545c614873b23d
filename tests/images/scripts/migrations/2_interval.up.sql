ALTER TABLE orders ADD COLUMN interval text;
