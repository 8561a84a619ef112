-- Cancels the campaign for good.
obj.spec.shutdown = "Stop"
return obj
