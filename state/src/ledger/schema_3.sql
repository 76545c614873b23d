-- What the downgrade of each revision in an image destroys, as its script says.
CREATE TABLE loss (
  stack  TEXT    NOT NULL REFERENCES stack (name),
  image  TEXT    NOT NULL,
  format INTEGER NOT NULL,
  value  TEXT    NOT NULL,
  PRIMARY KEY (stack, image)
) STRICT;
