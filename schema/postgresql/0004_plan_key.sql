-- The key that plans are sealed with, made with the first of them.

ALTER TABLE install ADD COLUMN plan_key TEXT CHECK (length(plan_key) = 64);
