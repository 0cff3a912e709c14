// Appends as record batches, and record batches as what a machine is loaded from.
#pragma once

#include <functional>

#include "base/error.h"
#include "base/id.h"
#include "bytes/shared.h"
#include "coordinator/types.h"

namespace weir::coordinator {

// The append as one uncompressed batch of magic 2; base offset and leader epoch are the log's to set.
bytes::Shared batch_of(const Append& append);

// Gives every record and transaction marker in a buffer of whole batches (magic 0 to 2) to `each`, in order, until
// it says false. Batches that cannot be read are left out, with a line in the log. The offset after the last batch
// seen; none when the buffer holds no whole batch. An error only where the frames do not add up.
Result<std::optional<Offset>> each_record(bytes::Bytes batches, const std::function<bool(const LoadedRecord&)>& each);

}  // namespace weir::coordinator
