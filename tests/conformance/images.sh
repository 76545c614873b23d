#!/usr/bin/env bash
# Makes the images that the conformance cases are created from: nothing in them ever runs, so there
# is nothing in them but settings. `plain` declares next to nothing, `full` all that an image can.
set -euo pipefail

empty() {
  tar --create --files-from /dev/null
}

empty | docker import \
  --change 'CMD ["serve"]' \
  --change 'LABEL io.steadfast.test=conformance' \
  --message 'steadfast conformance' \
  - steadfast-test/conformance:plain >/dev/null

empty | docker import \
  --change 'ENTRYPOINT ["/entry", "--first"]' \
  --change 'CMD ["serve", "--all"]' \
  --change 'ENV IMAGE_VAR=image' \
  --change 'ENV PATH=/image/bin' \
  --change 'USER 42:43' \
  --change 'WORKDIR /image' \
  --change 'EXPOSE 8080' \
  --change 'EXPOSE 5353/udp' \
  --change 'VOLUME /image-volume' \
  --change 'VOLUME /var/lib/postgresql/data' \
  --change 'LABEL image.label=image' \
  --change 'LABEL io.steadfast.test=conformance' \
  --change 'HEALTHCHECK --interval=31s --timeout=4s --retries=2 CMD ["image-check"]' \
  --message 'steadfast conformance' \
  - steadfast-test/conformance:full >/dev/null
