-- The migrations that images have: each revision, with those right before it.
CREATE TABLE history (
  stack  TEXT    NOT NULL REFERENCES stack (name),
  image  TEXT    NOT NULL,
  format INTEGER NOT NULL,
  value  TEXT    NOT NULL,
  PRIMARY KEY (stack, image)
) STRICT;
